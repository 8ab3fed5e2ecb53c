"""Evidence for and against each observed label: other methods' votes, neighbours, and genes of the reference.

No method was trained on an observed label of the query. The evidence is of two kinds, and an error needs both:
methods trained on the reference (on the latent and on the genes) and plain expression, compared gene by gene.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.neighbours import nearest_labelled
from labeltransfer.results.audit.profiles import Profiles, profiles
from labeltransfer.results.scores.cells import codes_among
from labeltransfer.strata import stratified

LATENT_METHODS = ("scanvi_label", "knn_label", "forest_label")
GENE_METHODS = ("regression_label", "log_regression_label", "rank_regression_label", "correlation_label")
"""Of these the first one that was asked speaks for the genes."""
CONSENSUS = "consensus_label"

MOST_ANCHORS = 30_000
"""Labelled query cells that cells are compared with in the latent; a sample keeps some of every label."""
N_NEIGHBOURS = 15
N_GENES = 25
"""Marker genes of either label, at most."""
FEWEST_CELLS = 5
"""Cells that a group needs for its mean expression to be used."""

Compatible = Callable[[str, str], bool]
Kind = Literal["swap", "mislabelled", "merged", "split", "cells"]


@dataclass(frozen=True)
class Finding:
    """A suspicion: ``rows`` are the cells, ``now`` the observed labels that they should have, both of shape (n,)."""

    observed: str
    kind: Kind
    partner: str
    score: float
    evidence: str
    rows: np.ndarray
    now: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Evidence about each observed label of the query.

    ``latent`` and ``genes`` are the shares of a class's cells (rows, observed labels) that get each label of the
    reference (columns): the mean over scANVI, kNN and random forest on the latent, and logistic regression on the
    genes. ``query`` and ``reference`` are the profiles by observed label, ``offset`` the query's expression less the
    reference's of cells of the same kind, shape (n_genes,).
    """

    latent: pd.DataFrame
    genes: pd.DataFrame
    query: Profiles
    reference: Profiles
    offset: np.ndarray

    @property
    def votes(self) -> pd.DataFrame:
        """Mean of both kinds of methods."""
        return (self.latent + self.genes) / 2

    def voted(self, label: str, other: str) -> float:
        """Share of a class's cells that get a label, by ``votes``."""
        return (cast(float, self.latent.at[label, other]) + cast(float, self.genes.at[label, other])) / 2

    def agree(self, label: str, other: str) -> float:
        """Share of a class's cells that get a label by the weaker of both kinds of methods."""
        return min(cast(float, self.latent.at[label, other]), cast(float, self.genes.at[label, other]))


@dataclass(frozen=True)
class MarkerComparison:
    """How a class compares with two labels, on the marker genes that separate these in the reference.

    ``genes`` are columns; ``other_side`` is True where the class's expression is nearer to the other label's than to
    its own. Both of shape (n_markers,).
    """

    genes: np.ndarray
    other_side: np.ndarray

    @property
    def share(self) -> float:
        """Share of the genes that are nearer to the other label; NaN without genes."""
        return float(self.other_side.mean()) if len(self.other_side) else float("nan")


def methods_asked(cells: pd.DataFrame) -> list[str]:
    """Columns of the methods that the evidence comes from: those on the latent, and last the one on the genes."""
    of_genes = next((name for name in GENE_METHODS if name in cells), CONSENSUS)
    return [*(name for name in LATENT_METHODS if name in cells), of_genes]


def gather(cells: pd.DataFrame, counts: sp.csr_matrix) -> Evidence:
    """Collect the evidence.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows, with the labels of all methods.
    counts
        Counts of the chosen genes, CSR of shape (n_cells, n_genes).
    """
    is_query = (cells["side"] == "query").to_numpy()
    observed = cells["observed_label"]
    query_labels, reference_labels = _present(observed[is_query]), _present(observed[~is_query])
    codes = codes_among(observed, query_labels)
    own = np.where(is_query, codes, -1)
    methods = methods_asked(cells)
    shares = {
        name: _shares(own, codes_among(cells[name], reference_labels), query_labels, reference_labels)
        for name in methods
    }
    n_counts = cells["n_counts"].to_numpy(dtype=float)
    query = profiles(counts, n_counts, own, query_labels)
    of_reference = np.where(is_query, -1, codes_among(observed, reference_labels))
    reference = profiles(counts, n_counts, of_reference, reference_labels)
    alike = profiles(
        counts, n_counts, np.where(is_query, codes_among(cells[CONSENSUS], reference_labels), -1), reference_labels
    )
    *on_latent, on_genes = methods
    latent = sum((shares[name] for name in on_latent[1:]), shares[on_latent[0]]) / len(on_latent)
    return Evidence(latent, shares[on_genes], query, reference, _offset(alike, reference))


def _present(labels: pd.Series) -> list[str]:
    return sorted(map(str, labels.dropna().unique()))


def _shares(rows: np.ndarray, columns: np.ndarray, row_names: list[str], column_names: list[str]) -> pd.DataFrame:
    known = (rows >= 0) & (columns >= 0)
    flat = np.bincount(rows[known] * len(column_names) + columns[known], minlength=len(row_names) * len(column_names))
    table = flat.reshape(len(row_names), len(column_names)).astype(float)
    n_cells = np.maximum(np.bincount(rows[rows >= 0], minlength=len(row_names)), 1)
    return pd.DataFrame(table / n_cells[:, None], index=row_names, columns=column_names)


def _offset(alike: Profiles, reference: Profiles) -> np.ndarray:
    """What the technology does to each gene: the difference of the sides, averaged over labels that both have.

    Every label weighs the same, so a query of another composition does not look like another technology.
    """
    both = (alike.n_cells >= FEWEST_CELLS) & (reference.n_cells > 0)
    if not both.any():
        return np.zeros(reference.mean.shape[1])
    return (alike.mean[both] - reference.mean[both]).mean(axis=0)


def marker_genes(evidence: Evidence, own: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Marker genes between two labels of the reference: those higher in ``other``, those higher in ``own``.

    By difference of means over the pooled standard deviation, at most ``N_GENES`` each, the largest effect first.
    Columns of the chosen genes, each array of shape (n_markers,).
    """
    reference = evidence.reference
    a, b = reference.at(own), reference.at(other)
    difference = reference.mean[b] - reference.mean[a]
    pooled = np.sqrt((reference.variance[a] + reference.variance[b]) / 2)
    effect = difference / (pooled + 0.1)
    effect[evidence.query.total.sum(axis=0) == 0] = 0  # a gene without counts in the query is no evidence
    order = np.argsort(-effect, kind="stable")
    up, down = order[:N_GENES], order[::-1][:N_GENES]
    return up[effect[up] > 0.2], down[effect[down] < -0.2]


def compare_markers(evidence: Evidence, observed: str, own: str, other: str) -> MarkerComparison:
    """Whether a class of the query is nearer to the label ``other`` than to ``own``, marker by marker.

    The reference's means are moved by what the technology does to each gene, see ``Evidence.offset``.
    """
    up, down = marker_genes(evidence, own, other)
    genes = np.concatenate([up, down])
    reference = evidence.reference
    a, b = (reference.mean[reference.at(label)][genes] + evidence.offset[genes] for label in (own, other))
    here = evidence.query.mean[evidence.query.at(observed)][genes]
    return MarkerComparison(genes, np.abs(here - b) < np.abs(here - a))


def in_order(evidence: Evidence, first: str, second: str, own: str, other: str) -> float:
    """Share of the marker genes of ``own`` and ``other`` that differ the same way between two classes of the query.

    Both classes are of one technology, so nothing has to be corrected for. Near 1, the class ``first`` is to ``second``
    as ``own`` is to ``other``; near 0 they are the other way round; about a half, they do not differ. NaN without
    genes.
    """
    up, down = marker_genes(evidence, own, other)
    query = evidence.query
    step = query.mean[query.at(second)] - query.mean[query.at(first)]
    right = np.concatenate([step[up] > 0, step[down] < 0])
    return float(right.mean()) if len(right) else float("nan")


def neighbour_shares(latent: np.ndarray, codes: np.ndarray, n_classes: int, *, seed: int = 0) -> np.ndarray:
    """Observed labels among each cell's nearest labelled cells, itself left out.

    Parameters
    ----------
    latent
        scVI latent of the labelled query cells, shape (n_labelled, n_latent).
    codes
        Their observed label, shape (n_labelled,), from 0 to ``n_classes`` - 1.

    Returns
    -------
    Shares, shape (n_labelled, n_classes), float32. A class weighs by its cells, all of them or as the sample has them.
    """
    anchors = np.arange(len(codes))
    if len(anchors) > MOST_ANCHORS:
        rng = np.random.default_rng(seed)
        anchors = np.sort(stratified(codes, MOST_ANCHORS, rng, least=FEWEST_CELLS * N_NEIGHBOURS))
    near = nearest_labelled(latent, anchors, k=N_NEIGHBOURS, seed=seed).rows
    flat = (np.arange(len(codes))[:, None] * n_classes + codes[near]).ravel()
    found = np.bincount(flat, minlength=len(codes) * n_classes).reshape(len(codes), n_classes)
    return (found / max(near.shape[1], 1)).astype(np.float32)
