"""Genes: those that both sides have, and the choice of highly variable ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.genes.ranking import SPANS, Ranking, Within, mean_variance, rank_genes, unfitted_groups
from labeltransfer.errors import InputError
from labeltransfer.units import counted, named, shorten

MIN_SHARED = 30
"""Fewer shared genes than this carry too little of a cell's type."""

FEW_SHARED = 200
"""Fewer shared genes than this are a gene panel's, or show that the two files name their genes differently."""

LEAST_SHARE = 0.1
"""Share of the smaller side's genes that ``FEW_SHARED`` genes or fewer have to be, lest it is the names that differ."""


def shared_genes(reference: pd.Index, query: pd.Index) -> pd.Index:
    """Genes that both sides have, in the order of the reference.

    Raises
    ------
    InputError
        Fewer than ``MIN_SHARED``; or few, where the two sides name their genes differently or come from different
        species.
    """
    shared = reference[reference.isin(query)]
    if not too_few(reference, query):
        return shared

    def example(genes: pd.Index) -> str:
        return ", ".join(map(named, genes[:3]))

    hint = "choose the var column that holds the same kind of names on both sides as 'Gene names'"
    if _differ_in_case(reference, query, len(shared)):
        hint = "the names differ in upper and lower case only, so these may be two species: map one to the other first"
    few = f"and at least {MIN_SHARED} are needed" if len(shared) < MIN_SHARED else "too few of all that they have"
    raise InputError(
        f"The sides share {len(shared):,} genes, {few}: the reference has {len(reference):,} ({example(reference)} …), "
        f"the query {len(query):,} ({example(query)} …); {hint}."
    )


def check_enough(genes: pd.Index) -> None:
    """Raise InputError where a reference alone has fewer than ``MIN_SHARED`` genes."""
    if len(genes) < MIN_SHARED:
        raise InputError(
            f"The reference has {counted(len(genes), 'gene')} that can be used, and at least {MIN_SHARED} are needed: "
            "take a file with more genes, or another gene-length table where counts are divided by gene length."
        )


def too_few(reference: pd.Index, query: pd.Index) -> bool:
    """Whether two sides with these genes share too few of them, or so few that their names must be of two kinds."""
    n_shared = int(reference.isin(query).sum())
    if hardly_any(n_shared, min(len(reference), len(query))):
        return True
    return n_shared < FEW_SHARED and _differ_in_case(reference, query, n_shared)


def hardly_any(n_found: int, n_genes: int) -> bool:
    """Whether genes found by name among others are too few to use, or so few that names must be of two kinds."""
    return n_found < MIN_SHARED or n_found < min(FEW_SHARED, LEAST_SHARE * n_genes)


def _differ_in_case(reference: pd.Index, query: pd.Index, n_shared: int) -> bool:
    """Whether many more genes have the same name apart from upper and lower case."""
    return len(reference.str.upper().intersection(query.str.upper())) > max(2 * n_shared, MIN_SHARED)


def what_few_genes_mean(n_genes: int) -> str:
    """Sentences on what to expect of so few genes; empty where they are enough."""
    if n_genes >= FEW_SHARED:
        return ""
    return (
        f"Only {n_genes:,} genes are there to distinguish cells, as with a gene panel. Broad types can be distinguished"
        " by so few, close ones often not; the latents of scVI and scANVI know less, and their confidence says less. "
        "Compare with the labels of logistic regression and of the consensus, and use coarse labels."
    )


def choose_genes(
    counts: sp.csr_matrix,
    genes: pd.Index,
    groups: pd.Series,
    *,
    n_top_genes: int,
    hvg_batch: Within,
    report: Callable[[str], None],
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """Choose highly variable genes by seurat_v3: variance beyond the trend over the mean, ranked within each group.

    The rank of a gene is its median rank over those groups where it is among the ``n_top_genes`` first
    (``scanpy.pp.highly_variable_genes``). Where the trend cannot be fitted in some group, wider spans are tried, then
    Pearson residuals (see :func:`.ranking.rank_genes`). With no more genes than asked for, all are taken.

    Parameters
    ----------
    counts
        Integer counts, shape (n_cells, n_genes); each cell has some.
    genes
        Gene names, shape (n_genes,).
    groups
        Group of each cell, shape (n_cells,); one group for all ranks over all cells at once.
    n_top_genes
        How many genes to choose.
    hvg_batch
        What ``groups`` are, for sentences.
    report
        Called with a sentence for each thing that the user should know.

    Returns
    -------
    Data frame of shape (n_genes, 5): highly_variable, highly_variable_rank, means, variances, variances_norm. And how
    genes were ranked, see :class:`.ranking.Ranking`; None where all are taken.
    """
    if n_top_genes >= len(genes):
        means, variances = mean_variance(counts)
        report(f"All {len(genes):,} shared genes are used: no more than the {n_top_genes:,} that were asked for.")
        empty = np.full(len(genes), np.nan)
        columns = {"highly_variable_rank": empty, "means": means, "variances": variances, "variances_norm": empty}
        return pd.DataFrame({"highly_variable": np.ones(len(genes), bool), **columns}, index=genes), None
    table, ranking = rank_genes(counts, genes, groups, n_top_genes, within=hvg_batch)
    if ranking.span != SPANS[0]:
        failed = unfitted_groups(counts, genes, groups, n_top_genes)
        report(_what_instead(failed, ranking, hvg_batch))
    n_groups = groups.nunique() if ranking.within != "none" else 1
    within = f"ranked within each {hvg_batch} ({n_groups})" if n_groups > 1 else "ranked over all cells"
    report(f"{int(table['highly_variable'].sum()):,} highly variable genes are chosen, {within}.")
    return table, ranking.as_dict()


def _what_instead(failed: dict[str, int], ranking: Ranking, hvg_batch: Within) -> str:
    """Sentence that says where genes cannot be ranked as usual, and how they are ranked instead."""
    cells = {group: counted(n_cells, "cell") for group, n_cells in failed.items()}
    own = list(cells.values()) if hvg_batch == "none" else [f"{hvg_batch} '{named(g)}' ({n})" for g, n in cells.items()]
    why = f"Too few cells or counts in {shorten(own)} to fit the variance of a gene over its mean as usual"
    if ranking.method == "seurat_v3":
        return f"{why}: the trend is fitted with a span of {ranking.span:g} instead of {SPANS[0]:g}."
    return (
        f"{why} or with a span of {SPANS[-1]:g}: genes are ranked by the variance of their Pearson residuals instead."
    )
