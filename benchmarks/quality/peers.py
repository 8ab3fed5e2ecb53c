"""CellTypist and SingleR as users run them: ``PYTHON -m benchmarks.quality.peers METHOD REFERENCE KEY QUERY OUT``.

They need an environment of their own: CellTypist 1.7.1 does not run with the scikit-learn that the app pins. ``PYTHON``
has ``celltypist`` or ``singler``, and ``anndata``; nothing else of this project is imported.
"""

import sys
from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp


def shared(reference: ad.AnnData, query: ad.AnnData) -> tuple[ad.AnnData, ad.AnnData]:
    """Both sides over the genes that both have, log1p of counts per 10,000."""
    genes = reference.var_names[reference.var_names.isin(query.var_names)]
    return _normalised(reference[:, genes]), _normalised(query[:, genes])


def _normalised(adata: ad.AnnData) -> ad.AnnData:
    counts = sp.csr_matrix(adata.X, dtype=np.float32)
    n_counts = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    counts.data = np.log1p(counts.data * np.repeat(1e4 / n_counts, np.diff(counts.indptr)))
    return ad.AnnData(counts, obs=adata.obs, var=adata.var)


def celltypist(reference: ad.AnnData, query: ad.AnnData, key: str) -> list[str]:
    """A model trained on the reference, without majority voting, which is the default of ``annotate``."""
    import celltypist as peer  # type: ignore[import-not-found]

    model = peer.train(reference, labels=key, n_jobs=2, check_expression=False)
    return peer.annotate(query, model=model).predicted_labels["predicted_labels"].astype(str).tolist()


def singler(reference: ad.AnnData, query: ad.AnnData, key: str) -> list[str]:
    """Labels with fine-tuning, the default; it wants genes in rows, compressed by cell, with sorted indices."""
    import singler as peer  # type: ignore[import-not-found]

    genes = reference.var_names.astype(str).tolist()
    found: Any = peer.annotate_single(
        test_data=_by_cell(query),
        test_features=genes,
        ref_data=_by_cell(reference),
        ref_features=genes,
        ref_labels=reference.obs[key].astype(str).tolist(),
    )
    return list(found.column("best"))


def _by_cell(adata: ad.AnnData) -> sp.csc_matrix:
    matrix = sp.csc_matrix(adata.X.T, dtype=np.float64)
    matrix.sort_indices()
    return matrix


METHODS: dict[str, Callable[[ad.AnnData, ad.AnnData, str], list[str]]] = {"celltypist": celltypist, "singler": singler}


def main() -> None:
    """Label the query and write one label a cell."""
    method, reference_path, key, query_path, target = sys.argv[1:]
    reference, query = (ad.read_h5ad(path) for path in (reference_path, query_path))
    reference = reference[reference.obs[key].notna().to_numpy()]
    labels = METHODS[method](*shared(reference, query), key)
    pd.DataFrame({"label": labels}, index=query.obs_names).to_csv(target)


if __name__ == "__main__":
    main()
