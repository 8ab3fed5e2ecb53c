"""Small valid h5ad files in every layout that intake reads, for ``benchmarks.fuzz.spoil`` to spoil."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

N_CELLS, N_GENES = 60, 230


def counts() -> np.ndarray:
    """Whole counts, shape (60, 230), about half of them 0."""
    return np.random.default_rng(0).poisson(0.7, (N_CELLS, N_GENES)).astype(np.float32)


def obs() -> pd.DataFrame:
    """A table of cells with labels, of which some are missing, and each usual kind of column."""
    labels = ["B cell", "T cell", None] * (N_CELLS // 3)
    columns = {
        "cell_type": pd.Categorical(labels, categories=["T cell", "B cell", "unused"]),
        "donor": pd.Categorical(["m1", "m2"] * (N_CELLS // 2)),
        "depth": counts().sum(1).astype(float),
        "is_good": np.arange(N_CELLS) % 2 == 0,
        "note": [f"note {i}" for i in range(N_CELLS)],
    }
    return pd.DataFrame(columns, index=[f"cell{i}" for i in range(N_CELLS)])


def var() -> pd.DataFrame:
    """A table of genes with a second name for each."""
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    return pd.DataFrame({"gene_id": ids}, index=[f"Gene{i}" for i in range(N_GENES)])


def _current(path: Path, layout: Callable, compression: str | None = None) -> None:
    adata = ad.AnnData(layout(counts()), obs=obs(), var=var())
    adata.write_h5ad(path, compression=compression)


def _with_raw(path: Path) -> None:
    adata = ad.AnnData(sp.csr_matrix(counts()), obs=obs(), var=var())
    adata.raw = adata.copy()
    adata = adata[:, :210].copy()
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(path)


def _with_layer(path: Path) -> None:
    layers = {"counts": sp.csr_matrix(counts())}
    ad.AnnData(np.log1p(counts()), obs=obs(), var=var(), layers=layers).write_h5ad(path)


def _anndata_0_7(path: Path) -> None:
    """Codes of categories as a column, their names in ``__categories`` next to it."""
    _current(path, sp.csr_matrix)
    with h5py.File(path, "r+") as file:
        group = file["obs"]
        group.attrs["encoding-version"] = "0.1.0"
        for name in ("cell_type", "donor"):
            del group[name]
            group[f"__categories/{name}"] = np.array(list(obs()[name].cat.categories), dtype=h5py.string_dtype())
            codes = group.create_dataset(name, data=obs()[name].cat.codes.to_numpy())
            codes.attrs["categories"] = group[f"__categories/{name}"].ref


def _anndata_0_6(path: Path) -> None:
    """Tables as compound datasets, names of categories in ``uns``, sparse matrices as h5sparse kept them."""
    table = obs()
    fields = [("index", "S10"), ("cell_type", "i1"), ("donor", "i1"), ("depth", "f8")]
    codes = (table[name].cat.codes for name in ("cell_type", "donor"))
    cells = np.array(list(zip(table.index.to_numpy().astype("S10"), *codes, table["depth"], strict=True)), dtype=fields)
    genes = np.array(
        list(zip(var().index.to_numpy().astype("S10"), range(N_GENES), strict=True)), [("index", "S10"), ("n", "i8")]
    )
    with h5py.File(path, "w") as file:
        file["obs"], file["var"], file["raw.var"] = cells, genes, genes
        for name in ("cell_type", "donor"):
            file[f"uns/{name}_categories"] = [c.encode() for c in table[name].cat.categories]
        for name in ("X", "raw.X"):
            group = file.create_group(name)
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = b"csr", (N_CELLS, N_GENES)
            matrix = sp.csr_matrix(counts())
            group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr


SPARSE: dict[str, Callable[[Path], None]] = {
    "by row": lambda path: _current(path, sp.csr_matrix),
    "by column": lambda path: _current(path, sp.csc_matrix),
    "by row, gzip": lambda path: _current(path, sp.csr_matrix, "gzip"),
    "raw": _with_raw,
    "anndata 0.7": _anndata_0_7,
    "anndata 0.6": _anndata_0_6,
}
BASES = SPARSE | {
    "dense": lambda path: _current(path, np.asarray),
    "dense, lzf": lambda path: _current(path, np.asarray, "lzf"),
    "layer": _with_layer,
}
"""What writes a valid file, by layout."""


def write_bases(folder: Path) -> dict[str, Path]:
    """Write a valid file of each layout; gives their paths."""
    paths = {name: folder / f"{name.replace(' ', '-')}.h5ad" for name in BASES}
    for name, path in paths.items():
        BASES[name](path)
    return paths
