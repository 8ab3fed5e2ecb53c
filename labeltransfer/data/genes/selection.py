"""Genes: those that both sides have, and the choice of highly variable ones."""

from collections.abc import Callable
from typing import Literal

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import InputError, SettingsError
from labeltransfer.units import counted, named, shorten

MIN_VARYING = 10
"""Below this no trend can be fitted, and below four points the loess library takes the whole process down."""

MIN_SHARED = 200
"""Fewer shared genes than this mean that the two files name their genes differently."""


def shared_genes(reference: pd.Index, query: pd.Index) -> pd.Index:
    """Genes that both sides have, in the order of the reference.

    Raises
    ------
    InputError
        Fewer than 200: the sides then name their genes differently or come from different species.
    """
    shared = reference[reference.isin(query)]
    if len(shared) >= MIN_SHARED:
        return shared

    def example(genes: pd.Index) -> str:
        return ", ".join(map(named, genes[:3]))

    hint = "choose the var column that holds the same kind of names on both sides as 'Gene names'"
    if len(pd.Index(reference.str.upper()).intersection(query.str.upper())) >= MIN_SHARED:
        hint = "the names differ in upper and lower case only, so these may be two species: map one to the other first"
    raise InputError(
        f"The sides share {len(shared):,} genes, and at least {MIN_SHARED} are needed: the reference has "
        f"{len(reference):,} ({example(reference)} …), the query {len(query):,} ({example(query)} …); {hint}."
    )


def choose_genes(
    counts: sp.csr_matrix,
    genes: pd.Index,
    groups: pd.Series,
    *,
    n_top_genes: int,
    hvg_batch: Literal["technology", "batch", "none"],
    report: Callable[[str], None],
) -> pd.DataFrame:
    """Choose highly variable genes by seurat_v3: variance beyond the trend over the mean, ranked within each group.

    The rank of a gene is its median rank over those groups where it is among the ``n_top_genes`` first
    (``scanpy.pp.highly_variable_genes``). With no more genes than asked for, all are taken.

    Parameters
    ----------
    counts
        Integer counts, shape (n_cells, n_genes).
    genes
        Gene names, shape (n_genes,).
    groups
        Group of each cell, shape (n_cells,); one group for all ranks over all cells at once.
    n_top_genes
        How many genes to choose.
    hvg_batch
        What ``groups`` are, for errors.
    report
        Called with a sentence for each thing that the user should know.

    Returns
    -------
    Data frame of shape (n_genes, 5): highly_variable, highly_variable_rank, means, variances, variances_norm.

    Raises
    ------
    SettingsError
        The trend of variance over mean cannot be fitted in some group; the groups and the ways out are named.
    """
    if n_top_genes >= len(genes):
        means, variances = _mean_variance(counts)
        report(f"All {len(genes):,} shared genes are used: no more than the {n_top_genes:,} that were asked for.")
        empty = np.full(len(genes), np.nan)
        columns = {"highly_variable_rank": empty, "means": means, "variances": variances, "variances_norm": empty}
        return pd.DataFrame({"highly_variable": np.ones(len(genes), bool), **columns}, index=genes)
    try:
        table = _rank_genes(counts, genes, groups, n_top_genes)
    except ValueError as error:  # loess gives up; scanpy passes its error on as it is
        raise SettingsError(_why_not(counts, genes, groups, n_top_genes, hvg_batch)) from error
    n_groups = groups.nunique()
    within = f"ranked within each {hvg_batch} ({n_groups})" if n_groups > 1 else "ranked over all cells"
    report(f"{int(table['highly_variable'].sum()):,} highly variable genes are chosen, {within}.")
    return table


def _rank_genes(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int) -> pd.DataFrame:
    import scanpy as sc  # takes seconds, and the app's process does without it

    for group in groups.unique():
        _, variances = _mean_variance(counts[(groups == group).to_numpy()])
        if (variances > 0).sum() < MIN_VARYING:
            raise ValueError(f"fewer than {MIN_VARYING} genes vary in {group}")
    adata = ad.AnnData(counts, obs=pd.DataFrame({"group": groups.to_numpy()}, index=groups.index.astype(str)))
    adata.var_names = genes
    table = sc.pp.highly_variable_genes(
        adata, flavor="seurat_v3", n_top_genes=n_top_genes, batch_key="group", inplace=False, check_values=False
    )
    kept = ["highly_variable", "highly_variable_rank", "means", "variances", "variances_norm"]
    table = table[kept].astype({"highly_variable_rank": np.float64})
    if not np.isfinite(table["variances_norm"]).all():
        raise ValueError("normalised variances are not finite")
    return table


def _why_not(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int, hvg_batch: str) -> str:
    """Sentence that names the groups whose trend cannot be fitted, and the ways out that do work."""
    failed = []
    for group, n_cells in groups.value_counts(sort=False).items():
        rows = (groups == group).to_numpy()
        if n_cells and not _can_rank(counts[rows], genes, groups[rows], n_top_genes):
            cells = counted(n_cells, "cell")
            failed.append(cells if hvg_batch == "none" else f"{hvg_batch} '{named(group)}' ({cells})")
    ways = [f"ask for all {len(genes):,} genes (n_top_genes), which needs no ranking"]
    if hvg_batch != "none" and _can_rank(counts, genes, pd.Series("all", index=groups.index), n_top_genes):
        ways.insert(0, "rank genes over all cells at once (hvg_batch = none)")
    if hvg_batch == "batch":
        ways.insert(0, "choose a batch column with larger batches")
    ways.append("widen the filters so that there are more cells")
    where = shorten(failed) if failed else "this data"
    return (
        f"Highly variable genes cannot be ranked: too few cells or counts in {where} to fit the variance of a gene "
        f"over its mean; {', or '.join(ways)}."
    )


def _can_rank(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int) -> bool:
    try:
        _rank_genes(counts, genes, groups, n_top_genes)
    except ValueError:
        return False
    return True


def _mean_variance(counts: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of each gene, each of shape (n_genes,)."""
    n_cells = counts.shape[0]
    weights = np.bincount(counts.indices, weights=counts.data, minlength=counts.shape[1])
    squares = np.bincount(counts.indices, weights=np.square(counts.data, dtype=np.float64), minlength=counts.shape[1])
    means = weights / n_cells
    return means, np.maximum(squares - n_cells * means**2, 0) / max(n_cells - 1, 1)
