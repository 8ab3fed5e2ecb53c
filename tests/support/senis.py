"""Files with the schema of Tabula Muris Senis, for tests of what fetches them."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.catalogue.entries import CatalogueEntry


def senis_obs(entry: CatalogueEntry) -> pd.DataFrame:
    """All cells of a file of the real size: the tutorial's subset first, then cells that its filters drop."""
    labels = [label for label, n in entry.tutorial_labels.items() for _ in range(n)]
    if not labels:
        assert entry.tutorial_shape is not None
        labels = ["granulocyte"] * entry.tutorial_shape[0]
    n_kept, n_cells = len(labels), entry.shape[0]
    other = np.arange(n_cells - n_kept) % 3
    obs = pd.DataFrame({"cell_ontology_class": labels + ["granulocyte"] * (n_cells - n_kept)}, dtype="category")
    obs["tissue"] = pd.Categorical(["Marrow"] * n_kept + ["Lung" if i == 0 else "Marrow" for i in other])
    obs["sex"] = pd.Categorical(["female"] * n_kept + ["male" if i == 1 else "female" for i in other])
    obs.loc[n_kept + np.flatnonzero(other == 2), "cell_ontology_class"] = np.nan
    return obs


def few_obs(n_cells: int) -> pd.DataFrame:
    """Cells in the order of their tissues, as published atlases have them, with every kind of column."""
    rng = np.random.default_rng(3)
    obs = pd.DataFrame({"tissue": pd.Categorical(np.sort(rng.choice(["Lung", "Marrow", "Spleen", "Tongue"], n_cells)))})
    obs["sex"] = pd.Categorical(np.where(np.arange(n_cells) // 120 % 2, "female", "male"))
    obs["cell_ontology_class"] = pd.Categorical(rng.choice(["B cell", "T cell", "basophil"], n_cells))
    obs.loc[rng.random(n_cells) < 0.1, "cell_ontology_class"] = np.nan
    obs["n_genes"] = rng.integers(100, 5_000, n_cells).astype(np.int32)
    return obs


def zeros(obs: pd.DataFrame, n_genes: int) -> sp.csr_matrix:
    """Counts that take no room."""
    return sp.csr_matrix((len(obs), n_genes), dtype=np.float32)


def random_counts(obs: pd.DataFrame, n_genes: int, share: float = 0.3) -> sp.csr_matrix:
    """Whole counts, shape (n_cells, n_genes), of which a share is not 0."""
    rng = np.random.default_rng(4)
    counts = sp.random(len(obs), n_genes, share, format="csr", dtype=np.float32, rng=rng)
    counts.data = rng.integers(1, 9, counts.nnz).astype(np.float32)
    return counts


def write_h5ad(path: Path, obs: pd.DataFrame, counts: sp.csr_matrix | np.ndarray, **options: object) -> Path:
    """The current layout; with ``raw``, X is made of logarithms and the counts are in raw."""
    var = pd.DataFrame({"n_cells": np.arange(counts.shape[1])}, index=[f"gene{i}" for i in range(counts.shape[1])])
    adata = ad.AnnData(counts, obs.set_axis([f"cell{i}" for i in range(len(obs))]), var)
    if options.pop("raw", False):
        adata.raw = adata.copy()
        adata.X = np.log1p(adata.X)
    adata.write_h5ad(path, **options)
    return path


def write_old_h5ad(path: Path, obs: pd.DataFrame, counts: sp.csr_matrix, *, raw: bool = False) -> Path:
    """The layout of anndata 0.6: tables as compound datasets, categories in uns, raw next to X."""
    with h5py.File(path, "w") as file:
        for place in ("X", "raw.X") if raw else ("X",):
            x = file.create_group(place)
            x.attrs.update({"h5sparse_format": b"csr", "h5sparse_shape": counts.shape})
            data = np.log1p(counts.data) if raw and place == "X" else counts.data
            for name, values in (("data", data), ("indices", counts.indices), ("indptr", counts.indptr)):
                x.create_dataset(name, data=values, maxshape=(None,))
        columns = {c: obs[c].cat.codes if obs[c].dtype == "category" else obs[c] for c in obs}
        table = np.zeros(len(obs), dtype=[("index", "S10"), *((c, v.dtype) for c, v in columns.items())])
        table["index"] = [f"cell{i}" for i in range(len(obs))]
        for column, values in columns.items():
            table[column] = values
            if obs[column].dtype == "category":
                names = np.array(list(obs[column].cat.categories), dtype=h5py.string_dtype())
                file[f"uns/{column}_categories"] = names
        file["obs"] = table
        for place in ("var", "raw.var") if raw else ("var",):
            genes = [(f"gene{i}".encode(),) for i in range(counts.shape[1])]
            file[place] = np.array(genes, dtype=[("index", "S10")])
    return path
