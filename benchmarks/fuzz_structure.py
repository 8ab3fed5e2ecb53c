"""Ways to spoil the structure of an h5ad file: links, types, shapes, names, storage; and its bytes."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from benchmarks.fuzz_bases import N_CELLS
from benchmarks.fuzz_values import NAMES, Change, Generator, matrices, pick, replace, values_of

OUTSIDE = "outside"
"""Folder beside the input's own with files that nobody may read, named as ``SECRETS`` are."""
SECRETS = ("secret.h5", "secret.txt")


def _outside(file: h5py.File) -> Path:
    return Path(file.filename).parent.parent / OUTSIDE


def items(file: h5py.File) -> list[h5py.Group | h5py.Dataset]:
    """Every group and dataset below the root."""
    found: list[h5py.Group | h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item))
    return found


def _any_item(file: h5py.File, rng: Generator) -> h5py.Group | h5py.Dataset:
    found = items(file)
    return found[int(rng.integers(len(found)))]


def _in_place(make: Callable[[h5py.File, str], None]) -> Change:
    """Put something in the place of any item, or beside the columns."""

    def apply(file: h5py.File, rng: Generator) -> None:
        where = str(pick(rng, [_any_item(file, rng).name, "/uns/more", "/X", "/layers/more"]))
        parent = file.get(where.rpartition("/")[0] or "/")
        if isinstance(parent, h5py.Dataset):
            where = "/uns/more"
        if where in file:
            del file[where]
        make(file, where)

    return apply


def _external_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.ExternalLink(str(_outside(file) / SECRETS[0]), "/data")


def _relative_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.ExternalLink(f"../{OUTSIDE}/{SECRETS[0]}", "/")


def _soft_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.SoftLink("/var" if len(where) % 2 else where)


def _circle(file: h5py.File, where: str) -> None:
    file[where] = file["/"]


def _external_storage(file: h5py.File, where: str) -> None:
    secret = str(_outside(file) / SECRETS[1])
    file.create_dataset(where, (N_CELLS,), "u1", external=[(secret, 0, N_CELLS)])


def _virtual(file: h5py.File, where: str) -> None:
    layout = h5py.VirtualLayout((N_CELLS,), "f4")
    layout[:] = h5py.VirtualSource(str(_outside(file) / SECRETS[0]), "data", (N_CELLS,))
    file.create_virtual_dataset(where, layout)


def _huge(file: h5py.File, where: str) -> None:
    file.create_dataset(where, (10**12,), "f8", chunks=(1024,))


def _huge_square(file: h5py.File, where: str) -> None:
    file.create_dataset(where, (2**40, 2**40), "f4", chunks=(64, 64))


def _deep(file: h5py.File, where: str) -> None:
    file.create_group(where + "/g" * 60)


def _wide(file: h5py.File, where: str) -> None:
    group = file.create_group(where)
    for i in range(2000):
        group.create_group(f"g{i}")


def _inflating(file: h5py.File, where: str) -> None:
    """Small when packed twice, and enormous when it is read."""
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((2**26,))
    plan.set_deflate(9)
    plan.set_deflate(9)
    made = h5d.create(file.id, where.encode(), h5t.STD_U8LE, h5s.create_simple((2**26,)), plan)
    made.write(h5s.ALL, h5s.ALL, np.zeros(2**26, "u1"))


def _unknown_filter(file: h5py.File, where: str) -> None:
    stored = file.create_dataset(
        where, (N_CELLS,), "f4", chunks=(N_CELLS,), compression=32099, allow_unknown_filter=True
    )
    stored.id.write_direct_chunk((0,), bytes(100))


def _filtered(**options: object) -> Change:
    """Store every matrix's values with a filter."""

    def apply(file: h5py.File, rng: Generator) -> None:
        for item in matrices(file):
            stored = values_of(item)
            replace(file, stored.name, stored[...], chunks=True, **options)

    return apply


def _other_type(file: h5py.File, rng: Generator) -> None:
    """The same place with values of another type and perhaps another length."""
    datasets = [item for item in items(file) if isinstance(item, h5py.Dataset)]
    where = datasets[int(rng.integers(len(datasets)))].name
    n = int(pick(rng, [0, 1, N_CELLS, N_CELLS]))
    kinds = ["S5", "f2", ">i8", "c16", "V7", "?", [("a", "i4"), ("b", "f8")], "(2,3)f4", h5py.vlen_dtype("i4")]
    kinds += [
        h5py.ref_dtype,
        h5py.enum_dtype({"a": 0, "b": 1}),
        h5py.string_dtype("ascii"),
        h5py.string_dtype(length=3),
    ]
    attributes = dict(file[where].attrs)
    del file[where]
    shape: tuple[int, ...] | None = pick(rng, [(n,), (n, 2), (), None])  # type: ignore[assignment]
    made = file.create_dataset(where, dtype=pick(rng, kinds), **({} if shape is None else {"shape": shape}))
    for name, value in attributes.items():
        made.attrs[name] = value


def _odd_attribute(file: h5py.File, rng: Generator) -> None:
    """Any attribute of any item made into something else, or dropped."""
    with_attributes = [item for item in items(file) if len(item.attrs)]
    item = with_attributes[int(rng.integers(len(with_attributes)))]
    name = sorted(item.attrs)[int(rng.integers(len(item.attrs)))]
    odd = [
        "",
        "csr_matrix",
        "csc_matrix",
        "dataframe",
        "categorical",
        "string-array",
        "array",
        "nullable-integer",
        "dict",
    ]
    odd += [
        "awkward-array",
        "x" * 60_000,
        b"\xff\xfe",
        -1,
        2**62,
        1.5,
        np.nan,
        [2**62, 2**62],
        [-1, -1],
        [0, 0],
        [1, 2, 3],
    ]
    odd += [np.empty((0,), "f8"), h5py.Empty("f8"), ["cell_type", "cell_type"], ["nothing"], True, file.ref]
    if rng.random() < 0.2:
        del item.attrs[name]
    else:
        item.attrs[name] = pick(rng, odd)


def _without(file: h5py.File, rng: Generator) -> None:
    del file[str(_any_item(file, rng).name)]


def _swapped(file: h5py.File, rng: Generator) -> None:
    """Two items in one another's place."""
    datasets = [item.name for item in items(file) if isinstance(item, h5py.Dataset)]
    one, two = (str(name) for name in rng.choice(datasets, 2, replace=False))
    file.move(one, "/aside")
    file.move(two, one)
    file.move("/aside", two)


def _odd_name(file: h5py.File, rng: Generator) -> None:
    """An item under a name that is no UTF-8, or odd."""
    item = _any_item(file, rng)
    parent = item.parent.id
    names = [
        b"\xff\xfe\x80",
        b"..",
        b"a\x01b",
        *[n.encode() for n in NAMES if n and "/" not in n and n not in (".", "..")],
    ]
    name = pick(rng, names)
    assert isinstance(name, bytes)
    parent.links.move(item.name.rpartition("/")[2].encode(), parent, name)


def _odd_column(file: h5py.File, rng: Generator) -> None:
    """One column more, of a kind that tables seldom have, under an odd name."""
    if isinstance(file["obs"], h5py.Dataset):
        return _other_type(file, rng)
    name = str(
        pick(rng, [n for n in NAMES if n and "/" not in n and not n.startswith(".")] + ["_index", "cell_id", "side"])
    )
    kinds = [np.zeros((N_CELLS, 2)), np.array(["t"] * N_CELLS, dtype="S3"), np.zeros(N_CELLS, "c8"), np.float64(2)]
    kinds += [np.zeros(N_CELLS, [("a", "i4")]), np.array([b"\xff\xfe"] * N_CELLS), np.full(N_CELLS, 2**63, "u8")]
    kinds += [np.array(["x" * 2**16] * N_CELLS, dtype=h5py.string_dtype()), np.array([np.nan] * N_CELLS)]
    values = pick(rng, kinds)
    obs = file["obs"]
    if name in obs:
        del obs[name]
    column = obs.create_dataset(name, data=values)
    encoding = pick(
        rng, ["array", "string-array", "rec-array", "numeric-scalar", "categorical", "nullable-boolean", None]
    )
    if encoding is not None:
        column.attrs["encoding-type"], column.attrs["encoding-version"] = encoding, "0.2.0"
    given = [c for c in obs.attrs["column-order"] if c != name]
    obs.attrs["column-order"] = np.array([*given, name], dtype=h5py.string_dtype())


def _foreign_text(file: h5py.File, rng: Generator) -> None:
    """Text that is no UTF-8 in the place of names or categories."""
    texts = [i for i in items(file) if isinstance(i, h5py.Dataset) and i.dtype.kind in "OS" and i.ndim == 1 and len(i)]
    stored = texts[int(rng.integers(len(texts)))]
    replace(file, stored.name, np.array([b"caf\xe9 %d" % i for i in range(len(stored))]))


STRUCTURE: dict[str, tuple[Change, str]] = {
    "external link": (_in_place(_external_link), "refused"),
    "relative external link": (_in_place(_relative_link), "refused"),
    "soft link": (_in_place(_soft_link), "refused"),
    "circle": (_in_place(_circle), "refused"),
    "external storage": (_in_place(_external_storage), "refused"),
    "virtual dataset": (_in_place(_virtual), "refused"),
    "huge shape": (_in_place(_huge), "refused"),
    "huge square": (_in_place(_huge_square), "refused"),
    "packed twice": (_in_place(_inflating), "refused"),
    "nested groups": (_in_place(_deep), "refused"),
    "2,000 groups": (_in_place(_wide), "any"),
    "unknown filter": (_in_place(_unknown_filter), "refused"),
    "filter gzip, shuffle, checksum": (_filtered(compression="gzip", shuffle=True, fletcher32=True), "read"),
    "filter lzf": (_filtered(compression="lzf"), "read"),
    "filter scale-offset": (_filtered(scaleoffset=2), "read"),
    "another type": (_other_type, "any"),
    "an odd attribute": (_odd_attribute, "any"),
    "an item missing": (_without, "any"),
    "two items swapped": (_swapped, "any"),
    "an odd name": (_odd_name, "any"),
    "an odd column": (_odd_column, "any"),
    "text in another encoding": (_foreign_text, "any"),
}
"""Changes by name, with what has to come of them."""

Spoil = Callable[[bytearray, Generator], None]


def _truncate(content: bytearray, rng: Generator) -> None:
    del content[int(rng.integers(len(content))) :]


def _flip(content: bytearray, rng: Generator) -> None:
    for at in rng.integers(0, len(content), int(rng.integers(1, 40))):
        content[at] ^= int(rng.integers(1, 256))


def _flip_head(content: bytearray, rng: Generator) -> None:
    for at in rng.integers(0, min(4096, len(content)), int(rng.integers(1, 6))):
        content[at] = int(pick(rng, [0, 1, 127, 128, 254, 255]))


def _zero_block(content: bytearray, rng: Generator) -> None:
    n = int(pick(rng, [64, 512, 4096]))
    start = int(rng.integers(0, max(1, len(content) // 64))) * 64
    content[start : start + n] = bytes(len(content[start : start + n]))


def _copy_block(content: bytearray, rng: Generator) -> None:
    """One place's bytes over another's: addresses that lead in circles."""
    n = int(pick(rng, [8, 64, 512]))
    one, two = (int(at) * 8 for at in rng.integers(0, len(content) // 8 - n, 2))
    content[one : one + n] = content[two : two + n]


def _insert(content: bytearray, rng: Generator) -> None:
    at = int(rng.integers(len(content)))
    content[at:at] = rng.bytes(int(rng.integers(1, 600)))


def _append(content: bytearray, rng: Generator) -> None:
    content.extend(rng.bytes(int(rng.integers(1, 5000))))


BYTES: dict[str, tuple[Spoil, str]] = {
    "truncated": (_truncate, "refused"),
    "bytes flipped": (_flip, "no matter"),
    "bytes of the head": (_flip_head, "no matter"),
    "a block zeroed": (_zero_block, "no matter"),
    "a block copied": (_copy_block, "no matter"),
    "bytes inserted": (_insert, "no matter"),
    "bytes appended": (_append, "read"),
}
"""Changes of the bytes by name, with what has to come of them."""
