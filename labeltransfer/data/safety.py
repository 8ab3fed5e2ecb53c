"""Refuse HDF5 files that reach beyond themselves or pretend to be larger than they are.

An h5ad file comes from anywhere. HDF5 lets it point at other files of the machine that opens it (external links,
external storage, virtual datasets), link a group into itself, and declare arrays that fill the memory when read.
Everything here looks at links, storage layouts and declared sizes alone: no value is read before the file has passed.
"""

from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5s, h5t

from labeltransfer.errors import InputError

MAX_OBJECTS = 100_000
"""Groups and datasets in one file; real files have some dozens."""

MAX_DEPTH = 32
"""Nesting of groups; real files stay below ten."""

MAX_COMPRESSION = 1100
"""Declared over stored bytes of one compressed dataset; deflate cannot exceed 1032."""

MAX_EXPANSION = 200
"""Declared bytes of all datasets over the size of the file; dense counts with few non-zeros reach 50."""

SLACK = 64 * 2**20
"""Bytes that may always be declared, so that tiny and highly compressible files pass."""

MAX_TABLE = 256 * 2**20
"""Bytes beyond four times the file size that obs, var and uns may declare: they are read whole."""

BYTES_PER_STRING = 24
"""Bytes of the file that a text of one character takes at least (its header and padding), whatever the compression."""

MAX_EMPTY_STRINGS = 10_000_000
"""Texts beyond those that the file has room for: empty ones take no room, but some memory."""

_MATRICES = ("X", "layers", "raw/X", "raw.X", "obsm", "varm", "obsp", "varp")


def check_structure(file: h5py.File, path: Path) -> None:
    """Walk a file that was just opened, before anything else reads it.

    Parameters
    ----------
    file
        The open file.
    path
        Where it lies, for its size and its name in messages.

    Raises
    ------
    InputError
        The file holds external or soft links, external storage, virtual datasets, groups that are linked twice (so
        that following them may never end), or declares far more data than it has.
    """
    name, n_bytes = path.name, path.stat().st_size
    seen = {_address(file.id)}
    waiting: list[tuple[str, h5g.GroupID, int]] = [("", file.id, 0)]
    stored = declared = tables = strings = 0
    while waiting:
        prefix, group, depth = waiting.pop()
        for link in group:
            where = prefix + link.decode("utf-8", "replace")
            _check_link(group, link, where, name)
            item = h5o.open(group, link)
            address = _address(item)
            if isinstance(item, h5g.GroupID):
                if address in seen or depth >= MAX_DEPTH:
                    raise InputError(f"{name}: its group {where} is linked in a circle or nested too deep. {_REWRITE}")
                waiting.append((where + "/", item, depth + 1))
            elif isinstance(item, h5d.DatasetID) and address not in seen:
                n_stored, n_declared = _check_dataset(item, where, name)
                stored, declared = stored + n_stored, declared + n_declared
                if not where.startswith(_MATRICES):
                    tables += n_declared
                strings += _n_texts(item.get_type()) * int(np.prod(item.get_space().shape or (), dtype=object))
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise InputError(f"{name}: it holds more than {MAX_OBJECTS:,} arrays and groups. {_REWRITE}")
    if stored > n_bytes:
        raise InputError(f"{name}: its arrays need {stored:,} bytes, but the file has {n_bytes:,}. {_DAMAGED}")
    if strings > n_bytes // BYTES_PER_STRING + MAX_EMPTY_STRINGS:
        raise InputError(f"{name}: it declares {strings:,} texts in a file of {n_bytes:,} bytes. {_DAMAGED}")
    if declared > MAX_EXPANSION * n_bytes + SLACK or tables > 4 * n_bytes + MAX_TABLE:
        raise InputError(f"{name}: it declares {declared:,} bytes of data in a file of {n_bytes:,}. {_DAMAGED}")


_REWRITE = "Such files are not opened: load it where you trust it and save it anew with anndata's write_h5ad."
_DAMAGED = "It is damaged or made to exhaust memory: get it again from its source."


def _address(item: h5g.GroupID | h5d.DatasetID) -> tuple[int, int]:
    info = h5o.get_info(item)
    return info.fileno, info.addr


def _check_link(group: h5g.GroupID, link: bytes, where: str, name: str) -> None:
    kind = group.links.get_info(link).type
    if kind == h5l.TYPE_HARD:
        return
    what = {h5l.TYPE_EXTERNAL: "an external link, which points at another file", h5l.TYPE_SOFT: "a soft link"}
    raise InputError(f"{name}: {where} is {what.get(kind, 'a link of a foreign kind')}. {_REWRITE}")


def _check_dataset(dataset: h5d.DatasetID, where: str, name: str) -> tuple[int, int]:
    """Return the stored and the declared bytes of a dataset that keeps its values inside the file."""
    plan = dataset.get_create_plist()
    layout = plan.get_layout()
    # The layout comes first: asking a virtual dataset for its shape may already open its sources.
    if layout == h5d.VIRTUAL or plan.get_external_count() > 0:
        raise InputError(f"{name}: the values of {where} lie in another file. {_REWRITE}")
    space = dataset.get_space()
    if space.get_simple_extent_type() != h5s.SIMPLE:
        return 0, 0
    # Python's integers: a product of declared lengths may exceed 64 bits.
    n_declared = int(np.prod([int(n) for n in space.shape], dtype=object)) * dataset.get_type().get_size()
    n_stored = 0 if layout == h5d.COMPACT else dataset.get_storage_size()
    factor = MAX_COMPRESSION if plan.get_nfilters() else 1
    if n_declared > factor * n_stored + 2**20:
        raise InputError(
            f"{name}: {where} declares {n_declared:,} bytes, but {n_stored:,} are stored for it. {_DAMAGED}"
        )
    return n_stored, n_declared


def _n_texts(kind: h5t.TypeID) -> int:
    """Texts or lists of variable length in one value of a type: each becomes an object when it is read."""
    if isinstance(kind, h5t.TypeCompoundID):
        return sum(_n_texts(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    return int(isinstance(kind, h5t.TypeVlenID) or (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()))
