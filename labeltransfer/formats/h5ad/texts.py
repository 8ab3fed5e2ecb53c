"""How much text a dataset refers to, before any of it is read.

A text of variable length is kept elsewhere in the file; the dataset holds its length and its place. Many values can
point at the same place, so that a few bytes refer to any amount of text. The lengths alone are read here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from labeltransfer.errors import InputError
from labeltransfer.formats.h5ad.chunks import is_variable, stored_size

ReadAt = Callable[[int, int], bytes]
"""Returns so many bytes of the file from a place on."""

BLOCK = 1_000_000
"""Values that are looked at at a time."""

MAX_TEXT = 2**20
"""Bytes of one text of obs or var; those of uns may be longer."""


@dataclass(frozen=True)
class Texts:
    """Texts of variable length in a dataset: how many are not empty, the bytes of all, and of the longest one."""

    n: int = 0
    n_bytes: int = 0
    longest: int = 0


def measure(dataset: h5d.DatasetID, read_at: ReadAt, where: str, name: str) -> Texts:
    """Measure what a dataset refers to.

    Raises
    ------
    InputError
        It cannot be measured: it nests lists, or its values were not all written.
    """
    kind = dataset.get_type()
    places = list(_places(kind, 0, where, name))
    shape = dataset.get_space().shape
    if not places or shape is None:
        return Texts()
    found = [Texts()]
    for block in _stored(dataset, stored_size(kind), int(np.prod(shape, dtype=object)), read_at, where, name):
        for offset, unit in places:
            lengths = block[:, offset : offset + 4].copy().view("<u4")[:, 0].astype(np.int64) * unit
            longest = int(lengths.max(initial=0))
            found.append(Texts(int(np.count_nonzero(lengths)), int(lengths.sum()), longest))
    return Texts(sum(t.n for t in found), sum(t.n_bytes for t in found), max(t.longest for t in found))


def _places(kind: h5t.TypeID, start: int, where: str, name: str) -> Iterator[tuple[int, int]]:
    """Where in a stored value the texts and lists are, each with the bytes of one unit of its length."""
    if isinstance(kind, h5t.TypeCompoundID):
        moved = 0  # members lie further apart in the file than in memory
        for number in range(kind.get_nmembers()):
            member = kind.get_member_type(number)
            yield from _places(member, start + kind.get_member_offset(number) + moved, where, name)
            moved += stored_size(member) - member.get_size()
    elif isinstance(kind, h5t.TypeArrayID):
        base = kind.get_super()
        for number in range(int(np.prod(kind.get_array_dims(), dtype=object)) if _has_texts(base) else 0):
            yield from _places(base, start + number * stored_size(base), where, name)
    elif isinstance(kind, h5t.TypeVlenID):
        if _has_texts(kind.get_super()):
            raise InputError(f"{name}: {where} holds lists of texts, which this app does not read. {_WAY_OUT}")
        yield start, kind.get_super().get_size()
    elif is_variable(kind):
        yield start, 1


def _has_texts(kind: h5t.TypeID) -> bool:
    if isinstance(kind, h5t.TypeCompoundID):
        return any(_has_texts(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    return _has_texts(kind.get_super()) if isinstance(kind, h5t.TypeArrayID) else is_variable(kind)


_WAY_OUT = "Save the file anew with anndata's write_h5ad."


def _stored(
    dataset: h5d.DatasetID, width: int, n_values: int, read_at: ReadAt, where: str, name: str
) -> Iterator[np.ndarray]:
    """The stored bytes of a dataset, in blocks of shape (n_values, width)."""
    plan = dataset.get_create_plist()
    layout, offset = plan.get_layout(), dataset.get_offset()
    fills = plan.fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED
    unreadable = InputError(f"{name}: how much text {where} holds cannot be known beforehand. {_WAY_OUT}")
    if layout == h5d.CHUNKED:
        if fills:
            raise unreadable  # what was not written would be read as so many copies of one text
        yield from _unpacked(dataset, plan, width)
    elif layout == h5d.CONTIGUOUS:
        if offset is None:
            if fills and n_values:
                raise unreadable
            return
        for first in range(0, n_values, BLOCK):
            n = min(BLOCK, n_values - first)
            content = read_at(offset + first * width, n * width)
            if len(content) != n * width or dataset.get_storage_size() != n_values * width:
                raise unreadable
            yield np.frombuffer(content, np.uint8).reshape(n, width)
    elif n_values > 1:  # in the header itself, where one text at most has its only place
        raise unreadable


def _unpacked(dataset: h5d.DatasetID, plan: h5p.PropDCID, width: int) -> Iterator[np.ndarray]:
    """Stored bytes of a chunked dataset: its chunks as they are, in a file in memory that calls them plain bytes."""
    copied = h5p.create(h5p.DATASET_CREATE)
    copied.set_chunk(plan.get_chunk())
    for number in range(plan.get_nfilters()):
        code, flags, settings = plan.get_filter(number)[:3]
        copied.set_filter(code, flags, settings)
    with h5py.File("texts", "w", driver="core", backing_store=False) as memory:
        space = h5s.create_simple(dataset.get_space().shape)
        plain = h5d.create(memory.id, b"plain", h5t.create(h5t.OPAQUE, width), space, copied)
        stored: list[h5d.StoreInfo] = []
        dataset.chunk_iter(stored.append)
        for info in stored:
            mask, content = dataset.read_direct_chunk(info.chunk_offset)
            plain.write_direct_chunk(info.chunk_offset, content, mask)
        values = h5py.Dataset(plain)
        step = max(1, BLOCK // max(1, int(np.prod(values.shape[1:]))))
        for first in range(0, values.shape[0], step):
            yield np.frombuffer(values[first : first + step].tobytes(), np.uint8).reshape(-1, width)
