"""Refuse compressed chunks that unpack to more than they declare, before HDF5 unpacks them.

HDF5 reads a chunk as a whole, and the filter that unpacks it takes as much memory as comes out, whatever size the file
declares: 1.6 MB can become 1.7 GB. What a chunk declares is bounded here, and a stored one that could unpack to much
more is unpacked aside, no further than that.
"""

import math
import zlib

import h5py
from h5py import h5d, h5p, h5t, h5z

from labeltransfer.errors import InputError

MAX_CHUNK = 512 * 2**20
"""Bytes that a chunk may unpack to, in any file."""

SPARE_CHUNK = 64 * 2**20
"""Bytes beyond four times the size of the file that a chunk may unpack to."""

MAX_TRANSIENT = 256 * 2**20
"""Bytes that a chunk could unpack to at most, by its stored size, for which it is not looked at beforehand."""

_RATIOS = {h5z.FILTER_DEFLATE: 1032, h5z.FILTER_LZF: 90}
"""How much a byte can unpack to at most."""

_COUNTED = frozenset({h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET})
"""Filters that unpack to a number of values which is among their own settings, the third of them."""

_PIECE = 16 * 2**20
_WAY_OUT = "Save the file anew with anndata's write_h5ad."
_DAMAGED = "It is damaged or made to exhaust memory: get it again from its source."


def check_declared(dataset: h5d.DatasetID, where: str, name: str, n_bytes: int) -> None:
    """Refuse a dataset whose chunks declare too much; only its own header is looked at.

    Raises
    ------
    InputError
        They are too large for a file of ``n_bytes``, or their filters contradict them.
    """
    plan = dataset.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED:
        return
    values, declared = _chunk_size(dataset, plan)
    most = min(MAX_CHUNK, SPARE_CHUNK + 4 * n_bytes)
    if declared > most:
        raise InputError(
            f"{name}: {where} is stored in blocks of {declared:,} bytes; a file of {n_bytes:,} may have blocks of at "
            f"most {most:,}. {_WAY_OUT}"
        )
    for number in range(plan.get_nfilters()):
        code, _, settings = plan.get_filter(number)[:3]
        if code in _COUNTED and (len(settings) < 3 or settings[2] != values):
            raise InputError(f"{name}: {where} is stored in blocks that contradict their own size. {_DAMAGED}")
        if code == h5z.FILTER_LZF and len(settings) > 2 and settings[2] > declared:
            raise InputError(f"{name}: {where} is stored in blocks that contradict their own size. {_DAMAGED}")


def check_all(dataset: h5d.DatasetID, where: str, name: str) -> None:
    """Refuse a dataset of which a stored chunk unpacks to more than it declares."""
    if _packer(dataset) is not None:
        stored: list[h5d.StoreInfo] = []
        dataset.chunk_iter(stored.append)
        for info in stored:
            _check(dataset, info, where, name)


def check_rows(dataset: h5py.Dataset, start: int, stop: int) -> None:
    """The same for the chunks that reading rows start..stop-1 of a dataset takes, which was found good otherwise."""
    if dataset.chunks is None or _packer(dataset.id) is None or start >= stop:
        return
    rows, *inner = dataset.chunks
    places = [range(0, length, chunk) for length, chunk in zip(dataset.shape[1:], inner, strict=True)]
    name = dataset.file.filename.rpartition("/")[2]
    for first in range(start // rows * rows, min(stop, dataset.shape[0]), rows):
        for at in _product(places):
            _check(dataset.id, dataset.id.get_chunk_info_by_coord((first, *at)), dataset.name.lstrip("/"), name)


def _product(places: list[range]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for place in places:
        found = [(*before, at) for before in found for at in place]
    return found


def _check(dataset: h5d.DatasetID, info: h5d.StoreInfo, where: str, name: str) -> None:
    if info.byte_offset is None or not info.size:
        return  # nothing is stored there
    packer = _packer(dataset)
    if packer is None or info.size * _RATIOS[packer] <= MAX_TRANSIENT:
        return
    plan = dataset.get_create_plist()
    _, declared = _chunk_size(dataset, plan)
    unpacks = False
    if packer == h5z.FILTER_DEFLATE:
        number = next(i for i in range(plan.get_nfilters()) if plan.get_filter(i)[0] == packer)
        if info.filter_mask & (1 << number):  # this chunk is stored as it is
            return
        unpacks = _inflates(dataset.read_direct_chunk(info.chunk_offset)[1], declared + 4)  # perhaps with a checksum
    if not unpacks:
        raise InputError(
            f"{name}: a block of {where} with {info.size:,} stored bytes could unpack to more than the {declared:,} "
            f"that it declares. {_DAMAGED}"
        )


def _inflates(packed: bytes, most: int) -> bool:
    """Whether deflated bytes unpack to at most so many."""
    unpacker, n_unpacked, rest = zlib.decompressobj(), 0, packed
    try:
        while rest and not unpacker.eof and n_unpacked <= most:
            n_unpacked += len(unpacker.decompress(rest, min(_PIECE, most + 1 - n_unpacked)))
            rest = unpacker.unconsumed_tail
    except zlib.error:
        return True  # HDF5 ends there too, and says so
    return n_unpacked <= most


def _packer(dataset: h5d.DatasetID) -> int | None:
    """The filter of a dataset that can unpack to more than is declared; None where none does."""
    plan = dataset.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED:
        return None
    codes = (plan.get_filter(number)[0] for number in range(plan.get_nfilters()))
    return next((code for code in codes if code in _RATIOS), None)


def _chunk_size(dataset: h5d.DatasetID, plan: h5p.PropDCID) -> tuple[int, int]:
    """Values of a chunk, and their bytes."""
    values = math.prod(plan.get_chunk())
    return values, values * stored_size(dataset.get_type())


REFERENCE = 16
"""Bytes in a dataset that refer to a text or list of variable length: its length and where it is in the file."""


def stored_size(kind: h5t.TypeID) -> int:
    """Bytes that a value of a type takes in a dataset; h5py says how many it takes in memory."""
    if isinstance(kind, h5t.TypeCompoundID):
        members = [kind.get_member_type(i) for i in range(kind.get_nmembers())]
        return kind.get_size() + sum(stored_size(member) - member.get_size() for member in members)
    if isinstance(kind, h5t.TypeArrayID):
        return stored_size(kind.get_super()) * math.prod(kind.get_array_dims())
    return REFERENCE if is_variable(kind) else kind.get_size()


def is_variable(kind: h5t.TypeID) -> bool:
    """Whether values of a type are texts or lists of any length, which are kept elsewhere in the file."""
    return isinstance(kind, h5t.TypeVlenID) or (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str())
