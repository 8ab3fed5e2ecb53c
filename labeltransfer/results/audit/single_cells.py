"""Wrong labels within a class that is right as a whole: a part of it, or single cells."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.results.audit.evidence import (
    FEWEST_CELLS,
    Compatible,
    Evidence,
    Finding,
    Kind,
    marker_genes,
    methods_asked,
    neighbour_shares,
)
from labeltransfer.results.audit.profiles import log_odds, profiles
from labeltransfer.results.scores.cells import codes_among
from labeltransfer.storage.sparse import log_normalised

FEWEST_OF_A_PART = 10
PART = 0.08
"""Share of a class that a part needs in order to be reported."""
APART = 2.0
"""Pooled standard deviations between the means of two parts of a class, at least."""
LIKELIER = 0.8
"""Share of a part's cells whose counts must be likelier in the other class of the query."""
WITH_OTHER, WITH_REST = 0.7, 0.45
"""Share of marker genes that must be nearer to the other label in a part, and that may be in the rest."""
AMONG_OTHERS, AMONG_OWN = 0.6, 0.15
"""Share of a misplaced cell's neighbours that must have the other label, and that may have its own."""
TYPICAL = 0.15
"""Share of a class's cells that must get a label for the label to be typical of the class."""
N_METHODS_AGREE = 3
FEWEST_SINGLES = 3
LOG_ODDS = 30.0
"""Nats by which a misplaced cell's counts must be likelier in the other class."""


def parts_of_classes(
    cells: pd.DataFrame, counts: sp.csr_matrix, evidence: Evidence, compatible: Compatible, *, skip: set[str]
) -> Iterator[Finding]:
    """Parts of classes that are another label of the reference: ``merged`` where no class of the query has that name,
    ``split`` where one has, so that one kind of cell goes by two names.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows.
    counts
        Counts of the chosen genes, CSR of shape (n_cells, n_genes).
    evidence
        See :func:`.evidence.gather`.
    compatible
        Whether a predicted label does not contradict an observed one.
    skip
        Labels whose whole class is something else.
    """
    known = evidence.reference.names
    is_query = (cells["side"] == "query").to_numpy()
    observed = cells["observed_label"].astype(object).to_numpy()
    methods = methods_asked(cells)
    n_methods, most = len(methods), min(N_METHODS_AGREE, len(methods))
    predicted = [cells[name].astype(object).to_numpy() for name in methods]
    n_counts = cells["n_counts"].to_numpy(dtype=float)
    query = evidence.query
    for label in (name for name in query.names if name in known and name not in skip):
        own_rows = np.flatnonzero(is_query & (observed == label))
        for other in known:
            if other in skip or compatible(label, other) or evidence.agree(label, other) < PART:
                continue
            agree = sum((method[own_rows] == other).astype(int) for method in predicted)
            inside = (agree >= most) & (predicted[-1][own_rows] == other)
            n_part, n_rest = int(inside.sum()), int((~inside).sum())
            if n_part < max(FEWEST_OF_A_PART, PART * len(own_rows)) or n_rest < FEWEST_CELLS:
                continue
            rows = own_rows[inside]
            apart, with_other, with_rest = _two_parts(counts, n_counts, own_rows, inside, evidence, label, other)
            if apart < APART or with_other < WITH_OTHER or with_rest > WITH_REST:
                continue
            kind: Kind = "merged"
            more = f"No class of the query is called {other}."
            if other in query.names and query.n_cells[query.at(other)] >= FEWEST_CELLS:
                own, others = (np.full(n_part, query.at(name)) for name in (label, other))
                likelier = float((log_odds(counts, rows, own, others, query) > 0).mean())
                if likelier < LIKELIER:
                    continue
                kind = "split"
                more = f"The counts of {likelier:.0%} of them are likelier in the query's own {other} than in {label}."
            words = (
                f"{n_part:,} of {len(own_rows):,} cells called {label} get {other} from at least {most} of "
                f"{n_methods} methods; {with_other:.0%} of the genes that tell the two apart speak for {other} there, "
                f"{with_rest:.0%} in the other cells, {apart:.1f} standard deviations between. {more}"
            )
            score = float(np.mean([with_other, min(apart / 4, 1), agree[inside].mean() / n_methods]))
            yield Finding(label, kind, other, score, words, rows, np.full(n_part, other, dtype=object))


def _two_parts(
    counts: sp.csr_matrix,
    n_counts: np.ndarray,
    rows: np.ndarray,
    inside: np.ndarray,
    evidence: Evidence,
    label: str,
    other: str,
) -> tuple[float, float, float]:
    """How far the parts of a class lie apart, in standard deviations of the cells' mean over the marker genes, and
    the share of these genes that are nearer to ``other`` in either part.
    """
    up, down = marker_genes(evidence, label, other)
    both = np.concatenate([up, down])
    if not len(both):
        return 0.0, 0.0, 1.0
    part = profiles(counts[rows], n_counts[rows], inside.astype(int), ["rest", "part"])
    reference = evidence.reference
    own, others = (reference.mean[reference.at(name)][both] + evidence.offset[both] for name in (label, other))
    shares = [float((np.abs(part.mean[i][both] - others) < np.abs(part.mean[i][both] - own)).mean()) for i in (1, 0)]
    expression = log_normalised(counts[rows], n_counts[rows])
    weight = np.zeros(counts.shape[1])
    weight[up], weight[down] = 1 / max(len(up), 1), -1 / max(len(down), 1)
    tilt = np.asarray(expression @ weight).ravel()
    pooled = np.sqrt((tilt[inside].var() + tilt[~inside].var()) / 2)
    return float((tilt[inside].mean() - tilt[~inside].mean()) / max(pooled, 1e-9)), shares[0], shares[1]


def misplaced_cells(
    cells: pd.DataFrame,
    latent: np.ndarray,
    counts: sp.csr_matrix,
    evidence: Evidence,
    rows: np.ndarray,
    identity: dict[str, str],
    compatible: Compatible,
    *,
    seed: int,
) -> Iterator[Finding]:
    """Single cells that lie among another class of the query, look like it and are predicted like it.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows.
    latent
        scVI latent, array of shape (n_cells, n_latent).
    counts
        Counts of the chosen genes, CSR of shape (n_cells, n_genes).
    evidence
        See :func:`.evidence.gather`.
    rows
        Labelled query cells to look at, shape (n_labelled,).
    identity
        What each class is really, by observed label.
    compatible
        Whether a predicted label does not contradict an observed one.
    seed
        Seed of the sample of labelled cells that neighbours are looked for among.
    """
    names = evidence.query.names
    if len(names) < 2 or len(rows) < 3:
        return
    codes = pd.Index(names).get_indexer(pd.Index(cells["observed_label"].astype(object).to_numpy()[rows]))
    shares = neighbour_shares(latent[rows], codes, len(names), seed=seed)
    everyone = np.arange(len(rows))
    among_own = shares[everyone, codes].copy()
    shares[everyone, codes] = 0
    best = shares.argmax(axis=1)
    among = shares[everyone, best]
    typical = evidence.votes.to_numpy() >= TYPICAL
    fits, misfits = (np.zeros(len(rows), int) for _ in range(2))
    methods = methods_asked(cells)
    n_methods, most = len(methods), min(N_METHODS_AGREE, len(methods))
    for method in methods:
        label = codes_among(cells[method], list(evidence.votes.columns))[rows]
        fits += (label >= 0) & typical[best, label]
        misfits += (label >= 0) & typical[codes, label]
    wrong = (among >= AMONG_OTHERS) & (among_own <= AMONG_OWN)
    wrong &= (fits >= most) & (misfits <= n_methods - most)
    same = np.array([[compatible(identity[a], identity[b]) for b in names] for a in names])
    wrong &= ~same[codes, best]
    chosen = np.flatnonzero(wrong)
    odds = log_odds(counts, rows[chosen], codes[chosen], best[chosen], evidence.query)
    chosen, odds = chosen[odds > LOG_ODDS], odds[odds > LOG_ODDS]
    for code in np.unique(codes[chosen]):
        own = codes[chosen] == code
        these = chosen[own]
        if len(these) < FEWEST_SINGLES:
            continue
        now = np.array([identity[names[k]] for k in best[these]], dtype=object)
        counted = pd.Series(now).value_counts()
        partner = sorted(counted[counted == counted.max()].index)[0]
        listed = ", ".join(
            f"{label} ({n})" for label, n in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        )
        label, n_class = names[code], int(evidence.query.n_cells[code])
        words = (
            f"{len(these):,} of {n_class:,} cells called {label} lie among other classes of the query "
            f"({among[these].mean():.0%} of their nearest cells have that label, {among_own[these].mean():.0%} "
            f"their own), at least {most} of {n_methods} methods agree, and their counts are likelier there: {listed}."
        )
        score = float(np.mean([among[these].mean(), fits[these].mean() / n_methods]))
        yield Finding(label, "cells", partner, score, words, rows[these], now)
