"""Observed labels whose whole class is something else: swapped with others, or under another's name."""

from typing import cast

import numpy as np
from scipy.optimize import linear_sum_assignment

from labeltransfer.results.audit.evidence import (
    FEWEST_CELLS,
    Compatible,
    Evidence,
    Kind,
    compare_markers,
    in_order,
    marker_genes,
)

REVERSED = 0.35
"""Share of marker genes in the labels' own order, at most, for two classes to be exchanged."""
RIGHT_ORDER = 0.65
"""Share in the order of the corrected labels, at least."""
CLEAR_ORDER = 0.85
"""The same where the latent knows little, for a label of which the reference has only a few cells."""
CARRIED = 0.5
"""Share of a class's cells that both kinds of methods must give the other label, in one class of a swap at least."""
CARRIED_ALONE = 0.6
"""The same where no mutual pattern helps: a whole class under another's name."""
OWN_ALONE = 0.15
"""Share that may keep its own label there."""
GENES_ALONE = 0.75
"""Share of marker genes that must be nearer to the other label there."""
DIFFERENT = 0.75
"""Share of marker genes in order from which two classes of the query are as different as their labels say."""

Moved = dict[str, tuple[str, Kind, float, str]]


def whole_classes(evidence: Evidence, compatible: Compatible, genes: np.ndarray | None) -> Moved:
    """Observed labels whose whole class is something else.

    Parameters
    ----------
    evidence
        See :func:`.evidence.gather`.
    compatible
        Whether a predicted label does not contradict an observed one.
    genes
        Names of the chosen genes, shape (n_genes,); None leaves them out of the evidence.

    Returns
    -------
    Partner, kind, score (0 to 1) and evidence by label.
    """
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
    """Cycles of labels, each of whose cells fit best to the next label's votes and expression."""
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

    Exchanging names leaves the mean unchanged, so it needs no label to be right.
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
    """Score and evidence of one label in a cycle; None where the genes or the methods do not support it."""
    partner = steps[label]
    before = next(name for name, following in steps.items() if following == label)
    known = set(evidence.reference.names)
    if label not in known:  # the reference lacks it: there are only the votes
        share = evidence.agree(label, partner)
        words = (
            f"{_votes(evidence, label, partner)} The reference lacks {label}; cells called {partner} are not {partner}."
        )
        return (share, words) if share >= CARRIED else None
    meant = partner if partner in known else _best_other(evidence, label)
    # Cells under `before` carry this label: they and the class itself must be exchanged.
    named = in_order(evidence, label, before, meant, label)
    known_steps = [(a, b) for a, b in steps.items() if b in known]
    carried = max(evidence.agree(*step) for step in known_steps)
    if named >= CLEAR_ORDER:  # the latent may know nothing of a rare label: then the genes alone
        carried = max(carried, *(cast(float, evidence.genes.at[step]) for step in known_steps))
    wrong = in_order(evidence, label, partner, label, partner) if partner in known and len(steps) == 2 else np.nan
    holds = evidence.voted(before, label) > evidence.voted(label, label)
    if carried < CARRIED or not holds or not named >= RIGHT_ORDER or wrong > REVERSED:
        return None
    n_genes = sum(map(len, marker_genes(evidence, meant, label)))
    words = (
        f"{_votes(evidence, label, meant)} Of {n_genes} genes that tell {label} from {meant} in the reference, "
        f"{round(named * n_genes)} are the other way round here: cells called {before} carry {label}'s."
    ) + _named(evidence, meant, label, genes)
    return float(np.mean([named, max(evidence.voted(label, meant), evidence.voted(before, label))])), words


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
    up, down = (", ".join(map(str, genes[part[:4]])) for part in marker_genes(evidence, own, other))
    return f" Such genes are {up} (of {other}) and {down} (of {own})."


def _swaps_with_missing(evidence: Evidence, big: set[str], compatible: Compatible) -> list[list[str]]:
    """Pairs of a label that the reference lacks and one that it has, where the first one's cells are the second's."""
    known, found = set(evidence.reference.names), []
    for label in sorted(big & known):
        carriers = [name for name in sorted(big - known) if not compatible(name, label)]
        if not carriers:
            continue
        carrier = max(carriers, key=lambda name: evidence.agree(name, label))
        if evidence.agree(carrier, label) >= CARRIED and evidence.voted(label, label) <= OWN_ALONE:
            found.append([label, carrier])
    return found


def _most_agreed(evidence: Evidence, label: str, others: list[str]) -> str:
    return max(others, key=lambda name: evidence.agree(label, name))


def _one_way(evidence: Evidence, big: set[str], compatible: Compatible, genes: np.ndarray | None) -> Moved:
    """Whole classes under another's name, without an exchange."""
    moved: Moved = {}
    for label in sorted(big & set(evidence.reference.names)):
        others = [name for name in evidence.reference.names if not compatible(label, name)]
        if not others:
            continue
        other = _most_agreed(evidence, label, others)
        share = evidence.agree(label, other)
        own = sum(evidence.voted(label, name) for name in evidence.reference.names if name not in others)
        if share < CARRIED_ALONE or own > OWN_ALONE:
            continue
        compared = compare_markers(evidence, label, label, other)
        if not compared.share >= GENES_ALONE:
            continue
        if other in big and in_order(evidence, label, other, label, other) > DIFFERENT:
            continue  # the two differ in the query as in the reference: the methods are confused
        words = (
            f"{_votes(evidence, label, other)} {int(compared.other_side.sum())} of {len(compared.genes)} genes that "
            f"tell the two apart in the reference speak for {other}."
        ) + _named(evidence, label, other, genes)
        moved[label] = (other, "mislabelled", float(np.mean([share, compared.share])), words)
    return moved
