"""Refuse HDF5 files that reach beyond themselves or pretend to be larger than they are.

An h5ad file comes from anywhere. HDF5 lets it point at other files of the machine that opens it (external links,
external storage, virtual datasets), link a group into itself, and declare arrays that fill the memory when read.
Everything here looks at links, storage layouts, declared sizes and lengths of texts alone: no value is read before the
file has passed. Of matrices, whose chunks may be many, each is looked at before it is read, see ``chunks.check_rows``.
"""

import math
import re

import h5py
from h5py import h5d, h5g, h5l, h5o, h5p, h5s, h5t, h5z

from labeltransfer.errors import InputError
from labeltransfer.formats.h5ad import chunks, texts

MAX_OBJECTS = 100_000
"""Groups and datasets in one file; real files have some dozens."""

MAX_DEPTH = 32
"""Nesting of groups; real files stay below ten."""

MAX_NAME = 1000
"""Bytes of the name of a group, dataset or column."""

MAX_COMPRESSION = 1100
"""Declared over stored bytes of one compressed dataset; deflate cannot exceed 1032."""

MAX_EXPANSION = 200
"""Declared bytes of all datasets over the size of the file; dense counts with few non-zeros reach 50."""

SLACK = 64 * 2**20
"""Bytes that may always be declared, so that tiny and highly compressible files pass."""

MAX_TABLE = SLACK
"""Bytes beyond four times the file size that obs, var and uns may declare: they are read whole."""

MAX_COLUMNS = 10_000
"""Columns of obs or var; real files have some dozens."""

BYTES_PER_STRING = 24
"""Bytes of the file that a text of one character takes at least (its header and padding), whatever the compression."""

SPARE_VALUES = 4_000_000
"""Values of a table, empty texts among them, beyond one for each byte of the file: each takes some memory once it is
read."""

_PACKERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_LZF, h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET})
_FILTERS = _PACKERS | {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}

_TABLES = ("obs/", "var/", "raw/var/", "raw.var/")
_FORMER_CATEGORIES = re.compile("uns/[^/]+_categories")
_MATRICES = ("X", "layers", "raw/X", "raw.X", "obsm", "varm", "obsp", "varp")


def check_structure(file: h5py.File, name: str, n_bytes: int, read_at: texts.ReadAt, *, remote: bool = False) -> None:
    """Walk a file that was just opened, before anything else reads it.

    Parameters
    ----------
    file
        The open file.
    name
        Its name in messages.
    n_bytes
        Its size.
    read_at
        Returns some of its bytes, as they are.
    remote
        It lies on a server. How much is stored of a matrix or of what is not read of uns, which takes a walk through an
        index that is spread over the whole file, is then not looked up; the size of the file bounds what they may
        declare.

    Raises
    ------
    InputError
        The file holds external or soft links, external storage, virtual datasets, groups that are linked twice (so
        that following them may never end), or declares far more data, columns or text than it has.
    """
    seen = {h5o.get_info(file.id).addr}
    waiting: list[tuple[str, h5g.GroupID, int]] = [("", file.id, 0)]
    stored = declared = tables = values = n_texts = text_bytes = 0
    while waiting:
        prefix, group, depth = waiting.pop()
        if prefix in _TABLES:
            _check_columns(len(group), prefix[:-1], name)
        for link in group:
            where = prefix + _text(link, name)
            address = _check_link(group, link, where, name)
            item = h5o.open(group, link)
            if isinstance(item, h5g.GroupID):
                if address in seen or depth >= MAX_DEPTH:
                    raise InputError(f"{name}: its group {where} is linked in a circle or nested too deep. {_REWRITE}")
                waiting.append((where + "/", item, depth + 1))
            elif isinstance(item, h5d.DatasetID) and address not in seen:
                is_table = f"{where}/".startswith(_TABLES) or bool(_FORMER_CATEGORIES.fullmatch(where))
                trusted = n_bytes if remote and not is_table else None
                n_stored, n_declared = _check_dataset(item, where, name, n_bytes, trusted)
                stored, declared = stored + n_stored, declared + n_declared
                if not where.startswith(_MATRICES):
                    tables += n_declared
                if trusted is None:
                    found = _check_values(item, where, name, n_bytes, read_at, is_table=is_table)
                    values, n_texts, text_bytes = values + found[0], n_texts + found[1], text_bytes + found[2]
                    _check_texts(name, n_bytes, values, n_texts, text_bytes)
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise InputError(f"{name}: it holds more than {MAX_OBJECTS:,} arrays and groups. {_REWRITE}")
    if stored > n_bytes:
        raise InputError(f"{name}: its arrays need {stored:,} bytes, but the file has {n_bytes:,}. {_DAMAGED}")
    if declared > MAX_EXPANSION * n_bytes + SLACK or tables > 4 * n_bytes + MAX_TABLE:
        raise InputError(f"{name}: it declares {declared:,} bytes of data in a file of {n_bytes:,}. {_DAMAGED}")


_REWRITE = "Such files are not opened: load it where you trust it and save it anew with anndata's write_h5ad."
_DAMAGED = "It is damaged or made to exhaust memory: get it again from its source."


def _check_values(
    item: h5d.DatasetID, where: str, name: str, n_bytes: int, read_at: texts.ReadAt, *, is_table: bool
) -> tuple[int, int, int]:
    """Values of a dataset that are texts or lists, how many of these are not empty, and the bytes of all."""
    n_values = math.prod(item.get_space().shape or ())  # no shape where nothing is stored, as for an empty raw
    if is_table and n_values > n_bytes + SPARE_VALUES:
        raise InputError(f"{name}: {where} declares {n_values:,} values in a file of {n_bytes:,} bytes. {_DAMAGED}")
    if not where.startswith(_MATRICES):
        chunks.check_all(item, where, name)
    found = texts.measure(item, read_at, where, name)
    if is_table and found.longest > texts.MAX_TEXT:
        raise InputError(
            f"{name}: a text in {where} has {found.longest:,} bytes; at most {texts.MAX_TEXT:,} are read. {_REWRITE}"
        )
    return _n_strings(item.get_type()) * n_values, found.n, found.n_bytes


def _check_texts(name: str, n_bytes: int, values: int, n_texts: int, text_bytes: int) -> None:
    """Refuse more texts, empty or not, than a file has room for; each of them takes memory of its own."""
    if values > n_bytes + SPARE_VALUES or n_texts > n_bytes // BYTES_PER_STRING:
        raise InputError(f"{name}: it declares {values:,} texts in a file of {n_bytes:,} bytes. {_DAMAGED}")
    if text_bytes > n_bytes:
        raise InputError(f"{name}: it declares {text_bytes:,} bytes of text in a file of {n_bytes:,}. {_DAMAGED}")


def _check_columns(n_columns: int, where: str, name: str) -> None:
    if n_columns > MAX_COLUMNS:
        raise InputError(
            f"{name}: {where} has {n_columns:,} columns; at most {MAX_COLUMNS:,} are read. Keep those that you need, "
            "and save the file anew with anndata's write_h5ad."
        )


def _text(link: bytes, name: str) -> str:
    """The name of an item; what is no UTF-8 could be neither shown nor written."""
    said = f"{name}: the name '{link[:60].decode('utf-8', 'replace')}' in it"
    if len(link) > MAX_NAME:
        raise InputError(f"{said} has {len(link):,} bytes. {_REWRITE}")
    try:
        return link.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{said} is no UTF-8 text. {_REWRITE}") from error


def _check_link(group: h5g.GroupID, link: bytes, where: str, name: str) -> int:
    """Return the address in the file of the object that a hard link leads to."""
    # Not asked of the object itself, which would add up the whole index of a dataset to say how large it is.
    info = group.links.get_info(link)
    kind = info.type
    if kind == h5l.TYPE_HARD:
        return info.u
    what = {h5l.TYPE_EXTERNAL: "an external link, which points at another file", h5l.TYPE_SOFT: "a soft link"}
    raise InputError(f"{name}: {where} is {what.get(kind, 'a link of a foreign kind')}. {_REWRITE}")


def _check_dataset(dataset: h5d.DatasetID, where: str, name: str, n_bytes: int, trusted: int | None) -> tuple[int, int]:
    """Return the stored and the declared bytes of a dataset that keeps its values inside the file.

    With ``trusted``, the bytes that may be stored for it, what is stored is not looked up and counts as 0.
    """
    plan = dataset.get_create_plist()
    layout = plan.get_layout()
    # The layout comes first: asking a virtual dataset for its shape may already open its sources.
    if layout == h5d.VIRTUAL or plan.get_external_count() > 0:
        raise InputError(f"{name}: the values of {where} lie in another file. {_REWRITE}")
    _check_filters(plan, where, name)
    space = dataset.get_space()
    if space.get_simple_extent_type() != h5s.SIMPLE:
        return 0, 0
    kind = dataset.get_type()
    chunks.check_declared(dataset, where, name, n_bytes)
    if isinstance(kind, h5t.TypeCompoundID) and f"{where}/" in _TABLES:
        _check_columns(kind.get_nmembers(), where, name)
    n_declared = math.prod(space.shape) * chunks.stored_size(kind)
    n_stored = 0 if layout == h5d.COMPACT or trusted is not None else dataset.get_storage_size()
    factor = MAX_COMPRESSION if plan.get_nfilters() else 1
    most = n_stored if trusted is None else trusted
    if n_declared > factor * most + 2**20:
        raise InputError(f"{name}: {where} declares {n_declared:,} bytes, but {most:,} are stored for it. {_DAMAGED}")
    return n_stored, n_declared


def _check_filters(plan: h5p.PropDCID, where: str, name: str) -> None:
    """Refuse what cannot be unpacked, and what is packed more than once: each time may multiply it by a thousand."""
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if foreign := [number for number in filters if number not in _FILTERS]:
        way_out = "Save the file anew with anndata's write_h5ad(compression='gzip')."
        raise InputError(f"{name}: {where} is packed by HDF5 filter {foreign[0]}, which this app lacks. {way_out}")
    if len([number for number in filters if number in _PACKERS]) > 1:
        raise InputError(f"{name}: {where} is packed more than once. {_DAMAGED}")


def _n_strings(kind: h5t.TypeID) -> int:
    """Texts, or lists of variable length, in one value of a type: each becomes an object when it is read."""
    if isinstance(kind, h5t.TypeCompoundID):
        return sum(_n_strings(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    if isinstance(kind, h5t.TypeArrayID):
        return _n_strings(kind.get_super()) * math.prod(kind.get_array_dims())
    return int(isinstance(kind, h5t.TypeVlenID | h5t.TypeStringID))
