"""Ways to spoil the values of an h5ad file, or to make them unusual while its structure stays valid."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from benchmarks.fuzz.bases import N_CELLS, N_GENES

Generator = np.random.Generator
Change = Callable[[h5py.File, Generator], None]

MARKUP = "<img src=x onerror=alert(1)> **bold** =1+1 $x$"
NAMES = (
    "",
    " ",
    "\t",
    "..",
    "a/../../b",
    "/etc/passwd",
    "x" * 70_000,
    MARKUP,
    "\u202eabc",
    "Ünïcödé 🧬",
    "NaN",
    "0",
)


def matrices(file: h5py.File) -> list[h5py.Group | h5py.Dataset]:
    """Every stored count matrix."""
    places = [file.get(name) for name in ("X", "raw/X", "raw.X", "layers/counts")]
    return [item for item in places if item is not None and (isinstance(item, h5py.Group) or item.ndim == 2)]


def items(file: h5py.File) -> list[h5py.Group | h5py.Dataset]:
    """Every group and dataset below the root."""
    found: list[h5py.Group | h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item))
    return found


def any_item(file: h5py.File, rng: Generator) -> h5py.Group | h5py.Dataset:
    found = items(file)
    return found[int(rng.integers(len(found)))]


def pick(rng: Generator, choices: list) -> Any:
    """One of some things of any kind."""
    return choices[int(rng.integers(len(choices)))]


def replace(file: h5py.File, path: str, values: object, **options: Any) -> h5py.Dataset:
    """Put other values in the place of a dataset, with its attributes."""
    attributes = dict(file[path].attrs) if path in file else {}
    if path in file:
        del file[path]
    dataset = file.create_dataset(path, data=values, **options)
    for name, value in attributes.items():
        dataset.attrs[name] = value
    return dataset


def values_of(item: h5py.Group | h5py.Dataset) -> h5py.Dataset:
    """The dataset that holds a matrix's values."""
    return item["data"] if isinstance(item, h5py.Group) else item


def _values(change: Callable[[np.ndarray, Generator], np.ndarray]) -> Change:
    """Change the values of every matrix."""

    def apply(file: h5py.File, rng: Generator) -> None:
        for item in matrices(file):
            stored = values_of(item)
            replace(file, stored.name, change(stored[...].astype(np.float64), rng).astype(np.float32))

    return apply


def _some(value: float) -> Change:
    """Put a value at some places."""

    def change(values: np.ndarray, rng: Generator) -> np.ndarray:
        values.flat[rng.integers(0, values.size, int(rng.integers(1, 30)))] = value
        return values

    return _values(change)


def _kind(kind: str) -> Change:
    """Store values of another kind of number, which anndata reads as they are."""

    def apply(file: h5py.File, rng: Generator) -> None:
        for item in matrices(file):
            stored = values_of(item)
            replace(file, stored.name, stored[...].astype(kind))

    return apply


def _empty_cells(file: h5py.File, rng: Generator) -> None:
    wanted = rng.random(N_CELLS) < 0.3
    for item in matrices(file):
        if isinstance(item, h5py.Dataset):
            values = item[...]
            values[wanted] = 0
            replace(file, item.name, values)
        else:
            indptr, kind = item["indptr"][:], item.attrs.get("encoding-type", "csr_matrix")
            by_cell = (
                np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) if kind != "csc_matrix" else item["indices"][:]
            )
            replace(file, f"{item.name}/data", np.where(wanted[by_cell], 0, item["data"][:]).astype(np.float32))


def _index(table: str, names: Callable[[np.ndarray, Generator], np.ndarray]) -> Change:
    """Change the names of cells or genes, in either layout."""

    def apply(file: h5py.File, rng: Generator) -> None:
        for where in (table, f"raw/{table}", f"raw.{table}"):
            item = file.get(where)
            if isinstance(item, h5py.Dataset):
                records = item[...]
                changed = names(records["index"].astype("U"), rng)
                whole = [str(name).encode()[:10].decode("utf-8", "ignore") for name in changed]  # no cut character
                records["index"] = [name.encode() for name in whole]
                replace(file, where, records)
            elif isinstance(item, h5py.Group) and isinstance(item.attrs.get("_index"), str):
                stored = item[item.attrs["_index"]]
                replace(file, stored.name, names(stored.asstr()[...], rng).astype(h5py.string_dtype()))

    return apply


def _repeat(names: np.ndarray, rng: Generator) -> np.ndarray:
    return names[rng.integers(0, max(1, len(names) // int(rng.integers(1, 20))), len(names))]


def _odd_names(names: np.ndarray, rng: Generator) -> np.ndarray:
    names = names.astype(object)
    for at in rng.integers(0, len(names), 6):
        names[at] = pick(rng, list(NAMES))
    return names


def _categories(names: Callable[[int, Generator], list[str]]) -> Change:
    """Other category names for the labels, n of them at least, in the current layout."""

    def apply(file: h5py.File, rng: Generator) -> None:
        item = file["obs"].get("cell_type") if isinstance(file["obs"], h5py.Group) else None
        if isinstance(item, h5py.Group):
            given = names(len(item["categories"]), rng)
            replace(file, f"{item.name}/categories", np.array(given, dtype=h5py.string_dtype()))
            replace(file, f"{item.name}/codes", rng.integers(-1, len(given), N_CELLS).astype(np.int32))
        elif isinstance(item, h5py.Dataset):
            given = names(3, rng)
            replace(file, "obs/__categories/cell_type", np.array(given, dtype=h5py.string_dtype()))
            item.attrs["categories"] = file["obs/__categories/cell_type"].ref
        else:
            replace(file, "uns/cell_type_categories", np.array(names(3, rng), dtype=h5py.string_dtype()))

    return apply


def _codes(file: h5py.File, rng: Generator) -> None:
    """Codes for which there is no category."""
    wrong = int(pick(rng, [3, 100, 127, -2, -128]))
    table = file["obs"]
    if isinstance(table, h5py.Dataset):
        records = table[...]
        records["cell_type"][rng.integers(N_CELLS)] = wrong
        replace(file, "obs", records)
        return
    stored = table["cell_type/codes"] if isinstance(table["cell_type"], h5py.Group) else table["cell_type"]
    stored[int(rng.integers(N_CELLS))] = wrong


def _lengths(table: str) -> Change:
    """One column of a table shorter or longer than the others."""

    def apply(file: h5py.File, rng: Generator) -> None:
        group = file[table]
        if isinstance(group, h5py.Dataset):
            replace(file, table, group[: int(rng.integers(0, len(group)))])
            return
        columns = [item for item in group.values() if isinstance(item, h5py.Dataset)]
        column = columns[int(rng.integers(len(columns)))]
        replace(file, column.name, np.resize(column[...], int(pick(rng, [0, 1, N_CELLS - 1, N_CELLS + 1, 1000]))))

    return apply


def _part(part: str, change: Callable[[np.ndarray, Generator], np.ndarray]) -> Change:
    """Make indptr or indices of every sparse matrix lie."""

    def apply(file: h5py.File, rng: Generator) -> None:
        for item in matrices(file):
            if isinstance(item, h5py.Group):
                replace(file, f"{item.name}/{part}", change(item[part][:].astype(np.int64), rng))

    return apply


def _at(value: int) -> Callable[[np.ndarray, Generator], np.ndarray]:
    def change(values: np.ndarray, rng: Generator) -> np.ndarray:
        values[int(rng.integers(1, len(values)))] = value
        return values

    return change


VALUES: dict[str, tuple[Change, str]] = {
    "negative counts": (_some(-3), "read"),
    "NaN counts": (_some(np.nan), "read"),
    "infinite counts": (_some(np.inf), "read"),
    "huge counts": (_some(3e38), "read"),
    "decimals": (_some(2.5), "read"),
    "log counts": (_values(lambda x, rng: np.log1p(x)), "read"),
    "all counts zero": (_values(lambda x, rng: x * 0), "read"),
    "normalised": (_values(lambda x, rng: x * rng.random()), "read"),
    "counts as int64": (_kind("i8"), "read"),
    "counts as uint8": (_kind("u1"), "read"),
    "counts as bool": (_kind("?"), "read"),
    "counts as float16": (_kind("f2"), "read"),
    "counts big-endian": (_kind(">f8"), "read"),
    "counts as text": (_kind("S8"), "refused"),
    "counts complex": (_kind("c8"), "refused"),
    "empty cells": (_empty_cells, "read"),
    "repeated cell names": (_index("obs", _repeat), "read"),
    "repeated gene names": (_index("var", _repeat), "read"),
    "odd cell names": (_index("obs", _odd_names), "read"),
    "odd gene names": (_index("var", _odd_names), "read"),
    "100,000 categories": (_categories(lambda n, rng: [f"type {i}" for i in range(100_000)]), "any"),
    "repeated categories": (_categories(lambda n, rng: ["a"] * max(2, n)), "refused"),
    "odd categories": (_categories(lambda n, rng: [*map(str, rng.permutation(NAMES))]), "any"),
    "categories spelt as none": (_categories(lambda n, rng: ["nan", "Unknown", "", "None"]), "any"),
    "no categories": (_categories(lambda n, rng: []), "any"),
    "codes out of range": (_codes, "refused"),
    "cells' table ragged": (_lengths("obs"), "any"),
    "genes' table ragged": (_lengths("var"), "any"),
    "indptr decreases": (_part("indptr", _at(0)), "any"),
    "indptr negative": (_part("indptr", _at(-7)), "refused"),
    "indptr too far": (_part("indptr", _at(2**40)), "refused"),
    "indptr short": (_part("indptr", lambda x, rng: x[: int(rng.integers(1, len(x)))]), "refused"),
    "indptr of floats": (_part("indptr", lambda x, rng: x + 0.5), "refused"),
    "indptr overflows": (_part("indptr", lambda x, rng: x.astype("u8") + 2**63), "refused"),
    "indices too far": (_part("indices", _at(N_CELLS + N_GENES)), "refused"),
    "indices negative": (_part("indices", _at(-1)), "refused"),
    "indices beyond 32 bits": (_part("indices", _at(2**32)), "refused"),
    "indices of floats": (_part("indices", lambda x, rng: x + 0.3), "refused"),
    "indices in disorder": (_part("indices", lambda x, rng: x[::-1].copy()), "any"),
    "indices repeat": (_part("indices", lambda x, rng: x // 2), "read"),
    "indices short": (_part("indices", lambda x, rng: x[:-1]), "refused"),
}
"""Changes by name, with what has to come of them: "read", "refused", or "any" of both."""
