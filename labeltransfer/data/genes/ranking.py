"""Rank genes by how much they vary: seurat_v3 where its trend can be fitted, else Pearson residuals.

Source: Stuart et al., Comprehensive integration of single-cell data, Cell 2019 (seurat_v3); Lause, Berens and Kobak,
Analytic Pearson residuals for normalization of single-cell RNA-seq UMI data, Genome Biology 2021; both in scanpy.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

Within = Literal["technology", "batch", "none"]
Method = Literal["seurat_v3", "pearson_residuals"]

SPANS = (0.3, 0.5)
"""Shares of the genes that the trend is fitted to at each mean, in the order in which they are tried; the first is
scanpy's own. With few cells many genes have the same mean, and a narrow span then holds too few different ones. With a
span of 1 the trend can nearly always be fitted, and badly: of 500 genes chosen so among 260 cells and nuclei of breast,
a logistic regression got 0.31 of the labels right, of as many by Pearson residuals 0.88; in none of five samples in
which 0.5 fails did it do better."""

FEWEST_CELLS = 30
"""Cells that each group has to have for residuals to be ranked within it; a variance over fewer is mostly noise. On
references of 10 cells cut from three pairs a logistic regression got 0.82 of the labels right with genes ranked over
all cells, 0.79 with genes ranked within the sides; with 20 cells 0.86 and 0.85, with 40 equally many."""

MIN_VARYING = 10
"""Below this no trend can be fitted, and below four points the loess library takes the whole process down."""

COLUMNS = ["highly_variable", "highly_variable_rank", "means", "variances", "variances_norm"]


@dataclass(frozen=True)
class Ranking:
    """How genes were ranked: the method, the ``span`` of seurat_v3's trend, and ``within`` which groups of cells."""

    method: Method
    span: float | None
    within: Within

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``summary.json``."""
        return asdict(self)


def rank_genes(
    counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int, *, within: Within
) -> tuple[pd.DataFrame, Ranking]:
    """Rank genes by seurat_v3 or, where no span lets its trend be fitted in each group, by Pearson residuals.

    Residuals are ranked within groups too or, where one has fewer than ``FEWEST_CELLS``, over all cells.

    Parameters
    ----------
    counts
        Integer counts, shape (n_cells, n_genes); each cell has some.
    genes
        Gene names, shape (n_genes,).
    groups
        Group of each cell, shape (n_cells,).
    n_top_genes
        How many genes to choose, fewer than there are.
    within
        What ``groups`` are.

    Returns
    -------
    Data frame of shape (n_genes, 5) with ``COLUMNS``, and how it was made. ``variances_norm`` is the variance over the
    one expected, by the trend or by the residuals.
    """
    for span in SPANS:
        try:
            return by_trend(counts, genes, groups, n_top_genes, span=span), Ranking("seurat_v3", span, within)
        except ValueError:  # loess gives up; scanpy passes its error on as it is
            continue
    if groups.astype(str).value_counts().min() < FEWEST_CELLS:
        groups, within = pd.Series("all", index=groups.index), "none"
    return by_residuals(counts, genes, groups, n_top_genes), Ranking("pearson_residuals", None, within)


def by_trend(
    counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int, *, span: float
) -> pd.DataFrame:
    """Rank by seurat_v3: variance beyond the trend over the mean, median of the ranks over groups.

    Raises
    ------
    ValueError
        The trend cannot be fitted in some group.
    """
    import scanpy as sc  # takes seconds, and the app's process does without it

    for group in groups.unique():
        _, variances = mean_variance(counts[(groups == group).to_numpy()])
        if (variances > 0).sum() < MIN_VARYING:
            raise ValueError(f"fewer than {MIN_VARYING} genes vary in {group}")
    table = sc.pp.highly_variable_genes(
        _grouped(counts, genes, groups),
        flavor="seurat_v3",
        n_top_genes=n_top_genes,
        batch_key="group",
        span=span,
        inplace=False,
        check_values=False,
    )
    table = table[COLUMNS].astype({"highly_variable_rank": np.float64})
    if not np.isfinite(table["variances_norm"]).all():
        raise ValueError("normalised variances are not finite")
    return table


def by_residuals(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int) -> pd.DataFrame:
    """Rank by the variance of Pearson residuals, which needs no trend and cannot fail.

    Genes that are among the first ``n_top_genes`` of more groups come first, and then by the median of their ranks.
    """
    import scanpy as sc

    table = sc.experimental.pp.highly_variable_genes(
        _grouped(counts, genes, groups),
        flavor="pearson_residuals",
        n_top_genes=n_top_genes,
        batch_key="group",
        inplace=False,
        check_values=False,
    )
    table = table.rename(columns={"residual_variances": "variances_norm"})
    return table[COLUMNS].astype({"highly_variable_rank": np.float64})


def _grouped(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series) -> ad.AnnData:
    adata = ad.AnnData(counts, obs=pd.DataFrame({"group": groups.to_numpy()}, index=groups.index.astype(str)))
    adata.var_names = genes
    return adata


def unfitted_groups(counts: sp.csr_matrix, genes: pd.Index, groups: pd.Series, n_top_genes: int) -> dict[str, int]:
    """Groups in which the trend cannot be fitted with scanpy's own span, and their numbers of cells."""
    failed = {}
    for group, n_cells in groups.value_counts(sort=False).items():
        rows = (groups == group).to_numpy()
        if not n_cells:
            continue
        try:
            by_trend(counts[rows], genes, groups[rows], n_top_genes, span=SPANS[0])
        except ValueError:
            failed[str(group)] = int(n_cells)
    return failed


def mean_variance(counts: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of each gene, each of shape (n_genes,)."""
    n_cells = counts.shape[0]
    weights = np.bincount(counts.indices, weights=counts.data, minlength=counts.shape[1])
    squares = np.bincount(counts.indices, weights=np.square(counts.data, dtype=np.float64), minlength=counts.shape[1])
    means = weights / n_cells
    return means, np.maximum(squares - n_cells * means**2, 0) / max(n_cells - 1, 1)
