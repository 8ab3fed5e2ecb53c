"""Observed labels of the query that their own cells contradict.

Methods that never saw the query's labels, and genes compared within the query, must both speak against a label before
it is suspected: scANVI alone confuses close relatives, and that is no error of the annotation. A label that the
reference merely lacks, or that is only coarser or finer than its, is no error either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from labeltransfer.results.audit_cells import misplaced_cells, parts_of_classes
from labeltransfer.results.audit_evidence import (
    FEWEST_CELLS,
    Compatible,
    Evidence,
    gather,
    in_order,
    stands_with,
    telling_genes,
)

Kind = Literal["swap", "mislabelled", "merged", "split", "cells"]
COLUMNS = ["observed_label", "kind", "partner_label", "score", "n_cells", "evidence"]
SAME = ("exact", "more specific", "more general")
"""Verdicts on an observed and a predicted label that make no error of a difference."""

REVERSED = 0.35
"""Share of telling genes in the labels' own order, at most, for two classes to stand the other way round."""
RIGHT_ORDER = 0.65
"""Share in the order of the corrected labels, at least."""
CLEAR_ORDER = 0.85
"""The same where the latent has little to say, of a label of which the reference has but a handful of cells."""
CARRIED = 0.5
"""Share of a class's cells that both kinds of methods must give the other label, in one class of a swap at least."""
CARRIED_ALONE = 0.6
"""The same where no mutual pattern helps: a whole class under another's name."""
OWN_ALONE = 0.15
"""Share that may keep its own label there."""
GENES_ALONE = 0.75
"""Share of telling genes that must stand with the other label there."""
DIFFERENT = 0.75
"""Share of telling genes in order from which two classes of the query are as different as their labels say."""

Relations = Callable[[str, str], str | None] | pd.DataFrame


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
class Audit:
    """What was found.

    ``table`` has one row a suspicion, the surest first, with ``COLUMNS``; ``cells`` one row a cell, in the order and
    with the index of the table of cells: ``audited_label``, the observed label with every suspicion heeded, and
    ``audit_score``, 0 where nothing speaks against the label, to 1; NaN for the reference and unlabelled cells.
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
        How a predicted label stands to an observed one: a function of both that returns a verdict as in
        :mod:`.ontology`, or a frame with the columns ``observed_label``, ``predicted_label`` and ``verdict``. Without
        it labels are the same where their names are.
    genes
        Names of the chosen genes, for the evidence.
    seed
        Seed of the sample of cells that others are compared with.

    Raises
    ------
    ValueError
        The shapes do not fit one another.
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
    moved = _whole_classes(evidence, compatible, names)
    identity = {name: moved[name][0] if name in moved else name for name in evidence.query.names}
    observed = cells["observed_label"].astype(object).to_numpy()
    found = []
    by_class = {label: np.flatnonzero(labelled & (observed == label)) for label in moved}
    for label, (partner, kind, score, words) in moved.items():
        rows = by_class[label]
        found.append(Finding(label, kind, partner, score, words, rows, np.full(len(rows), partner, dtype=object)))
    for part in parts_of_classes(cells, counts, evidence, compatible, skip=set(moved)):
        found.append(Finding(*part))
    taken = np.zeros(len(cells), bool)
    for part in found:
        taken[part.rows] |= part.kind in ("merged", "split")
    looked_at = np.flatnonzero(labelled & ~taken)
    for single in misplaced_cells(cells, latent, counts, evidence, looked_at, identity, compatible, seed=seed):
        found.append(Finding(*single))
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
    """Cells that are judged one by one leave the row of their class."""
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


Moved = dict[str, tuple[str, Kind, float, str]]


def _whole_classes(evidence: Evidence, compatible: Compatible, genes: np.ndarray | None) -> Moved:
    """Observed labels whose whole class is something else: partner, kind, score and evidence by label."""
    big = {name for name, n in zip(evidence.query.names, evidence.query.n_cells, strict=True) if n >= FEWEST_CELLS}
    moved: Moved = {}
    for cycle in [*_cycles(evidence, big), *_swaps_with_missing(evidence, big, compatible)]:
        steps = {label: cycle[(i + 1) % len(cycle)] for i, label in enumerate(cycle)}
        if any(compatible(a, b) for a, b in steps.items()) or set(steps) & set(moved):
            continue
        for label, partner in steps.items():
            judged = _judge_step(evidence, steps, label, genes)
            if judged is None:
                break
            moved[label] = (partner, "swap", *judged)
        else:
            continue
        moved = {label: row for label, row in moved.items() if label not in steps}
    return moved | _one_way(evidence, big - set(moved), compatible, genes)


def _cycles(evidence: Evidence, big: set[str]) -> list[list[str]]:
    """Cycles of labels, each of whose cells are best told by the next label's votes and expression."""
    labels = [name for name in evidence.votes.columns if name in big]
    if len(labels) < 2:
        return []
    worth = evidence.votes.loc[labels, labels].to_numpy() + _likeness(evidence, labels)
    rows, columns = linear_sum_assignment(-worth)
    best = {labels[i]: labels[j] for i, j in zip(rows, columns, strict=True)}
    cycles, seen = [], set()
    for label in labels:
        cycle = []
        while label not in seen:
            seen.add(label)
            cycle.append(label)
            label = best[label]
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _likeness(evidence: Evidence, labels: list[str]) -> np.ndarray:
    """Correlation of classes of the query with labels of the reference, both less their own side's mean of them all.

    Swapping names leaves the mean as it is, so no label has to be believed for it.
    """
    sides = []
    for profiles in (evidence.query, evidence.reference):
        mean = profiles.mean[[profiles.at(label) for label in labels]]
        centred = mean - mean.mean(axis=0)
        sides.append(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))
    return sides[0] @ sides[1].T


def _judge_step(
    evidence: Evidence, steps: dict[str, str], label: str, genes: np.ndarray | None
) -> tuple[float, str] | None:
    """Score and evidence of one label in a cycle; None where the genes or the methods do not bear it out."""
    partner = steps[label]
    before = next(name for name, following in steps.items() if following == label)
    known = set(evidence.reference.names)
    if label not in known:  # the reference lacks it: what it is by votes is all that can be said
        share = float(evidence.agreed.loc[label, partner])
        words = f"{_votes(evidence, label, partner)} The reference lacks {label}, and cells called {partner} are no {partner}."
        return (share, words) if share >= CARRIED else None
    meant = partner if partner in known else _best_other(evidence, label)
    # Cells under `before` carry this label: they and the class itself must stand the other way round.
    named = in_order(evidence, label, before, meant, label)
    known_steps = [(a, b) for a, b in steps.items() if b in known]
    carried = max(float(evidence.agreed.loc[step]) for step in known_steps)
    if named >= CLEAR_ORDER:  # of a rare label the latent may know nothing: then the genes alone, by either way
        carried = max(carried, *(float(evidence.genes.loc[step]) for step in known_steps))
    wrong = in_order(evidence, label, partner, label, partner) if partner in known and len(steps) == 2 else np.nan
    holds = float(evidence.votes.loc[before, label]) > float(evidence.votes.loc[label, label])
    if carried < CARRIED or not holds or not named >= RIGHT_ORDER or wrong > REVERSED:
        return None
    n_genes = sum(map(len, telling_genes(evidence, meant, label)))
    words = (
        f"{_votes(evidence, label, meant)} Of {n_genes} genes that tell {label} from {meant} in the reference, "
        f"{round(named * n_genes)} are the other way round here: cells called {before} carry {label}'s."
    ) + _named(evidence, meant, label, genes)
    return float(np.mean([named, max(evidence.votes.loc[label, meant], evidence.votes.loc[before, label])])), words


def _best_other(evidence: Evidence, label: str) -> str:
    return str(evidence.votes.loc[label].drop(label, errors="ignore").idxmax())


def _votes(evidence: Evidence, label: str, other: str) -> str:
    n_cells = int(evidence.query.n_cells[evidence.query.at(label)])
    latent, genes = evidence.latent.loc[label], evidence.genes.loc[label]
    kept = f", {label} {latent[label]:.0%} and {genes[label]:.0%}" if label in latent.index else ""
    return (
        f"Of {n_cells:,} cells called {label}, the methods on the latent give {other} {latent[other]:.0%} on average, "
        f"logistic regression on the genes {genes[other]:.0%}{kept}."
    )


def _named(evidence: Evidence, own: str, other: str, genes: np.ndarray | None) -> str:
    if genes is None:
        return ""
    up, down = (", ".join(map(str, genes[part[:4]])) for part in telling_genes(evidence, own, other))
    return f" Such genes are {up} (of {other}) and {down} (of {own})."


def _swaps_with_missing(evidence: Evidence, big: set[str], compatible: Compatible) -> list[list[str]]:
    """Pairs of a label that the reference lacks and one that it has, where the first one's cells are the second's."""
    known, found = set(evidence.reference.names), []
    for label in sorted(big & known):
        carriers = [name for name in sorted(big - known) if not compatible(name, label)]
        if not carriers:
            continue
        carrier = max(carriers, key=lambda name: float(evidence.agreed.loc[name, label]))
        if evidence.agreed.loc[carrier, label] >= CARRIED and evidence.votes.loc[label, label] <= OWN_ALONE:
            found.append([label, carrier])
    return found


def _one_way(evidence: Evidence, big: set[str], compatible: Compatible, genes: np.ndarray | None) -> Moved:
    """Whole classes under another's name, without anything in return."""
    moved: Moved = {}
    for label in sorted(big & set(evidence.reference.names)):
        others = [name for name in evidence.reference.names if not compatible(label, name)]
        if not others:
            continue
        other = str(evidence.agreed.loc[label, others].idxmax())
        share = float(evidence.agreed.loc[label, other])
        own = float(evidence.votes.loc[label].drop(others).sum())
        if share < CARRIED_ALONE or own > OWN_ALONE:
            continue
        pair = stands_with(evidence, label, label, other)
        if not pair.share >= GENES_ALONE:
            continue
        if other in big and in_order(evidence, label, other, label, other) > DIFFERENT:
            continue  # the query itself tells the two apart as the reference does: the methods are confused
        words = (
            f"{_votes(evidence, label, other)} {int(pair.other_side.sum())} of {len(pair.genes)} genes that tell the "
            f"two apart in the reference stand with {other}."
        ) + _named(evidence, label, other, genes)
        moved[label] = (other, "mislabelled", float(np.mean([share, pair.share])), words)
    return moved
