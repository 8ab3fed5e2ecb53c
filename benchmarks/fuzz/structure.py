"""Ways to spoil the structure of an h5ad file: types, attributes, names, filters."""

from typing import Any

import h5py
import numpy as np

from benchmarks.fuzz.bases import N_CELLS
from benchmarks.fuzz.values import NAMES, Change, Generator, any_item, items, matrices, pick, replace, values_of


def _filtered(**options: Any) -> Change:
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
    kinds: list[Any] = [
        "S5",
        "f2",
        ">i8",
        "c16",
        "V7",
        "?",
        [("a", "i4"), ("b", "f8")],
        "(2,3)f4",
        h5py.vlen_dtype("i4"),
    ]
    kinds += [
        h5py.ref_dtype,
        h5py.enum_dtype({"a": 0, "b": 1}),
        h5py.string_dtype("ascii"),
        h5py.string_dtype(length=3),
    ]
    attributes = dict(file[where].attrs)
    del file[where]
    shape: tuple[int, ...] | None = pick(rng, [(n,), (n, 2), (), None])
    made = file.create_dataset(where, dtype=pick(rng, kinds), **({} if shape is None else {"shape": shape}))
    for name, value in attributes.items():
        made.attrs[name] = value


def _odd_attribute(file: h5py.File, rng: Generator) -> None:
    """Any attribute of any item made into something else, or dropped."""
    with_attributes = [item for item in items(file) if len(item.attrs)]
    item = with_attributes[int(rng.integers(len(with_attributes)))]
    name = sorted(item.attrs)[int(rng.integers(len(item.attrs)))]
    odd: list[Any] = [
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
    del file[str(any_item(file, rng).name)]


def _swapped(file: h5py.File, rng: Generator) -> None:
    """Two items in one another's place."""
    datasets = [item.name for item in items(file) if isinstance(item, h5py.Dataset)]
    one, two = (str(name) for name in rng.choice(datasets, 2, replace=False))
    file.move(one, "/aside")
    file.move(two, one)
    file.move("/aside", two)


def _odd_name(file: h5py.File, rng: Generator) -> None:
    """An item under a name that is no UTF-8, or odd."""
    item = any_item(file, rng)
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
    kinds: list[Any] = [
        np.zeros((N_CELLS, 2)),
        np.array(["t"] * N_CELLS, dtype="S3"),
        np.zeros(N_CELLS, "c8"),
        np.float64(2),
    ]
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
