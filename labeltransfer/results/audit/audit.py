"""Observed labels of the query that their own cells contradict.

A label is suspected only where both methods that never saw the query's labels and genes compared within the query
contradict it: scANVI alone confuses close relatives, and that is no error of the annotation. Nor is a label that the
reference lacks, or that is only coarser or finer than the reference's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.results.audit.classes import whole_classes
from labeltransfer.results.audit.evidence import Compatible, Finding, gather
from labeltransfer.results.audit.single_cells import misplaced_cells, parts_of_classes

COLUMNS = ["observed_label", "kind", "partner_label", "score", "n_cells", "evidence"]
SAME = ("exact", "more specific", "more general")
"""Verdicts with which a predicted label does not contradict the observed one."""

Relations = Callable[[str, str], str | None] | pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """Suspected labels, and what they change.

    ``table`` has one row a suspicion, the surest first, with ``COLUMNS``; ``cells`` one row a cell, in the order and
    with the index of the table of cells: ``audited_label``, the observed label with every suspicion applied, and
    ``audit_score``, from 0 where nothing contradicts the label to 1; NaN for the reference and unlabelled cells.
    """

    table: pd.DataFrame
    cells: pd.DataFrame

    def __post_init__(self) -> None:
        if list(self.table.columns) != COLUMNS or list(self.cells.columns) != ["audited_label", "audit_score"]:
            raise ValueError(f"columns {list(self.table.columns)} and {list(self.cells.columns)}")


def audit(
    cells: pd.DataFrame,
    latent: np.ndarray,
    counts: sp.csr_matrix,
    *,
    relations: Relations | None = None,
    genes: Sequence[str] | None = None,
    seed: int = 0,
) -> Audit:
    """Look for observed labels of the query that their own cells contradict.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows of both sides, with the labels of all methods.
    latent
        scVI latent, array of shape (n_cells, n_latent).
    counts
        Counts of the chosen genes, CSR of shape (n_cells, n_genes).
    relations
        How a predicted label relates to an observed one: a function of both that returns a verdict as in
        :mod:`.relations`, or a frame with the columns ``observed_label``, ``predicted_label`` and ``verdict``. Without
        it labels are the same where their names are.
    genes
        Names of the chosen genes, for the evidence.
    seed
        Seed of the sample of cells that others are compared with.

    Raises
    ------
    ValueError
        The shapes do not match.
    """
    if not len(cells) == len(latent) == counts.shape[0]:
        raise ValueError(f"{len(cells)} cells, a latent of {latent.shape} and counts of {counts.shape}")
    labelled = ((cells["side"] == "query") & cells["observed_label"].notna()).to_numpy()
    has_reference = bool(cells.loc[cells["side"] == "reference", "observed_label"].notna().any())
    if not labelled.any() or not has_reference:
        return _collected(cells, labelled, [])
    compatible = _compatible(relations)
    evidence = gather(cells, counts)
    names = None if genes is None else np.asarray(genes, dtype=object)
    moved = whole_classes(evidence, compatible, names)
    identity = {name: moved[name][0] if name in moved else name for name in evidence.query.names}
    observed = cells["observed_label"].astype(object).to_numpy()
    found: list[Finding] = []
    by_class = {label: np.flatnonzero(labelled & (observed == label)) for label in moved}
    for label, (partner, kind, score, words) in moved.items():
        rows = by_class[label]
        found.append(Finding(label, kind, partner, score, words, rows, np.full(len(rows), partner, dtype=object)))
    found += parts_of_classes(cells, counts, evidence, compatible, skip=set(moved))
    taken = np.zeros(len(cells), bool)
    for part in found:
        taken[part.rows] |= part.kind in ("merged", "split")
    looked_at = np.flatnonzero(labelled & ~taken)
    found += misplaced_cells(cells, latent, counts, evidence, looked_at, identity, compatible, seed=seed)
    return _collected(cells, labelled, _without_singles(found))


def _compatible(relations: Relations | None) -> Compatible:
    """Whether a predicted label is no contradiction of an observed one."""
    if relations is None:
        return lambda observed, predicted: observed == predicted
    if isinstance(relations, pd.DataFrame):
        keys = zip(relations["observed_label"].astype(str), relations["predicted_label"].astype(str), strict=True)
        known = dict(zip(keys, relations["verdict"].astype(object), strict=True))
        return lambda observed, predicted: observed == predicted or known.get((observed, predicted)) in SAME
    return lambda observed, predicted: observed == predicted or relations(observed, predicted) in SAME


def _without_singles(found: list[Finding]) -> list[Finding]:
    """Remove cells with a finding of their own from the finding of their class."""
    singles = {label: rows for label, rows in ((f.observed, f.rows) for f in found if f.kind == "cells")}
    kept = []
    for finding in found:
        if finding.kind != "cells" and finding.observed in singles:
            stay = ~np.isin(finding.rows, singles[finding.observed])
            finding = replace(finding, rows=finding.rows[stay], now=finding.now[stay])
        kept.append(finding)
    return kept


def _collected(cells: pd.DataFrame, labelled: np.ndarray, found: list[Finding]) -> Audit:
    found = sorted(found, key=lambda f: (f.kind == "cells", -f.score, f.observed, f.partner))
    audited = cells["observed_label"].astype(object).to_numpy(copy=True)
    score = np.where(labelled, 0.0, np.nan).astype(np.float32)
    for finding in found:
        audited[finding.rows], score[finding.rows] = finding.now, finding.score
    rows = [(f.observed, f.kind, f.partner, round(f.score, 3), len(f.rows), f.evidence) for f in found]
    categories = sorted(pd.Series(audited).dropna().astype(str).unique())
    per_cell = pd.DataFrame(
        {"audited_label": pd.Categorical(audited, categories=categories), "audit_score": score}, index=cells.index
    )
    return Audit(pd.DataFrame(rows, columns=COLUMNS), per_cell)
