"""A promise about the labels that are handed out: their error stays below what the user can bear.

A higher threshold makes labels coarser, and a coarser label of a cell cannot be wrong where a finer one is right. So
there is one number to choose, on cells whose label is known and which the models were not trained on. Two guarantees
are offered:

- *tested*: with a probability of ``SURE`` over the draw of those cells, the share of wrong labels among those handed
  out is below the error. Thresholds are tested from the strictest on, and the last that passes is taken (fixed
  sequence testing).
- *conformal*: on average over draws, the share of cells with a wrong label, of all cells, is below it. It needs fewer
  cells, and promises less.

Both hold for cells like those that the threshold was chosen on. Where the query differs from the reference in ways that
the models did not bridge, neither does; :func:`strictest` takes in what the query's own confidence leads to expect.

Sources: Angelopoulos, Bates, Candès, Jordan and Lei, Learn then test, 2021 (Annals of Applied Statistics 2025);
Angelopoulos, Bates, Fisch, Lei and Schuster, Conformal risk control, ICLR 2024; Clopper and Pearson, Biometrika 1934;
for groups the ratio estimate of cluster sampling, Cochran, Sampling Techniques, 3rd edition 1977, chapter 9A.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import beta, t

from labeltransfer.results.levels.back_off import NO_LEVEL, Descent, depths, is_right

Method = Literal["tested", "conformal"]

SURE = 0.95
"""Probability, over the draw of the cells, with which the promise is kept."""

THRESHOLDS = np.concatenate([1 - np.geomspace(1e-4, 0.75, 60), [0.0]]).astype(np.float32)
"""Thresholds that are tried, the strictest first; the last one gives each cell its finest label."""

FEWEST_GROUPS = 5
"""Batches or donors whose spread says something: with fewer, cells are taken for independent."""


@dataclass(frozen=True)
class Promise:
    """A threshold, and what it does to the cells that it was chosen on.

    ``error`` is the share of wrong labels among those handed out, ``interval`` its bounds, both of which it lies within
    with a probability of ``SURE`` (one-sided each); NaN without such labels. ``coverage`` is the share of cells by the
    level of their label, ``NO_LEVEL`` first. ``kept`` says whether the promise can be given: where not, the threshold
    is the one that comes nearest to it, the lowest of several.
    """

    threshold: float
    error_to_bear: float
    error: float
    interval: tuple[float, float]
    coverage: dict[str, float]
    n_cells: int
    n_labelled: int
    n_groups: int
    method: Method | Literal["expected"]
    kept: bool

    @property
    def share_labelled(self) -> float:
        """Share of the cells that get a label."""
        return self.n_labelled / self.n_cells if self.n_cells else float("nan")


def keep_promise(
    descent: Descent,
    observed: np.ndarray,
    *,
    error: float = 0.05,
    method: Method = "tested",
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Promise:
    """Choose the threshold on cells whose label is known.

    Parameters
    ----------
    descent
        The ways of these cells down the tree, n_cells of them, by calibrated probabilities of models that were not
        trained on them.
    observed
        Places of their labels among ``hierarchy.labels``, shape (n_cells,); -1 where the reference lacks the label.
    error
        Share of wrong labels to be borne.
    method
        Which of the two guarantees.
    weights
        How much each cell counts, shape (n_cells,), where the cells are not drawn as those to be labelled are; None
        counts each once.
    groups
        Batch or donor of each cell, shape (n_cells,). Cells of one donor err together: with ``FEWEST_GROUPS`` or more
        the bounds take in how much the groups differ.

    Raises
    ------
    ValueError
        The shapes do not match.
    """
    n_cells = descent.n_cells
    if observed.shape != (n_cells,) or any(x is not None and x.shape != (n_cells,) for x in (weights, groups)):
        raise ValueError(f"{n_cells} cells, but labels of shape {observed.shape}, or weights or groups of another")
    weight = np.ones(n_cells) if weights is None else np.asarray(weights, dtype=float)
    codes, n_groups = _groups(groups)
    right = is_right(descent, observed)
    bounds: list[tuple[float, float, float]] = []
    last, started = -1, False
    for place, threshold in enumerate(THRESHOLDS):
        depth = depths(descent, threshold)
        labelled = depth > 0
        wrong = labelled & ~right[np.maximum(depth, 1) - 1, np.arange(n_cells)]
        share, low, high = _bounds(wrong, labelled, weight, codes if n_groups >= FEWEST_GROUPS else None)
        bounds.append((share, low, high))
        if method == "conformal":
            passes = _conformal(wrong, weight) <= error
        else:
            # So few labels cannot pass even without an error; which these are, their correctness does not decide.
            if not started and 1 - (1 - SURE) ** (1 / max(_n_effective(weight[labelled]), 1e-9)) > error:
                continue
            started, passes = True, high <= error
        if not passes:
            break
        last = place
    kept = last >= 0
    chosen = last if kept else min(range(len(bounds)), key=lambda i: (np.nan_to_num(bounds[i][2], nan=2.0), -i))
    share, low, high = bounds[chosen]
    return Promise(
        threshold=float(THRESHOLDS[chosen]),
        error_to_bear=error,
        error=share,
        interval=(low, high),
        coverage=coverage(descent, float(THRESHOLDS[chosen]), weight),
        n_cells=n_cells,
        n_labelled=int((depths(descent, THRESHOLDS[chosen]) > 0).sum()),
        n_groups=n_groups,
        method=method,
        kept=kept,
    )


def expected_promise(descent: Descent, *, error: float = 0.05, groups: np.ndarray | None = None) -> Promise:
    """Choose the threshold on cells without a known label: by one less their confidence, which has to be calibrated.

    It is an expectation, no guarantee, and ``interval`` is that of the mean confidence alone; see :func:`keep_promise`
    for the parameters. The lowest threshold is taken whose expected error, and that of all stricter ones, can be borne.
    """
    codes, n_groups = _groups(groups)
    rows, weight, chosen, best = np.arange(descent.n_cells), np.ones(descent.n_cells), -1, (float("nan"),) * 3
    for place, threshold in enumerate(THRESHOLDS):
        depth = depths(descent, threshold)
        labelled = depth > 0
        doubt = np.where(labelled, 1 - descent.confidence[np.maximum(depth, 1) - 1, rows], 0)
        found = _bounds(doubt, labelled, weight, codes if n_groups >= FEWEST_GROUPS else None)
        if labelled.any() and found[0] > error:
            break
        chosen, best = place, found
    threshold = float(THRESHOLDS[max(chosen, 0)])
    n_labelled = int((depths(descent, threshold) > 0).sum())
    return Promise(
        threshold=threshold,
        error_to_bear=error,
        error=best[0],
        interval=(best[1], best[2]),
        coverage=coverage(descent, threshold, weight),
        n_cells=descent.n_cells,
        n_labelled=n_labelled,
        n_groups=n_groups,
        method="expected",
        kept=chosen >= 0 and n_labelled > 0,
    )


def strictest(*promises: Promise) -> Promise:
    """Of several promises the one with the highest threshold, the first of equal ones; kept where all of them are.

    A threshold from held-out cells of the reference knows nothing of a query from another technology, whose expected
    error grows with its doubt.
    """
    chosen = max(promises, key=lambda promise: promise.threshold)
    return replace(chosen, kept=all(promise.kept for promise in promises))


def coverage(descent: Descent, threshold: float, weights: np.ndarray | None = None) -> dict[str, float]:
    """Share of the cells by the level of their label, ``NO_LEVEL`` first; ``weights`` as in :func:`keep_promise`."""
    names = (NO_LEVEL, *descent.hierarchy.levels)
    weight = np.ones(descent.n_cells) if weights is None else weights
    counted = np.bincount(depths(descent, threshold), weights=weight, minlength=len(names))
    return dict(zip(names, (counted / max(counted.sum(), 1e-12)).tolist(), strict=True))


def _groups(groups: np.ndarray | None) -> tuple[np.ndarray | None, int]:
    """Code of each cell's group and how many there are; none where groups are not known."""
    if groups is None:
        return None, 0
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    return codes, len(names)


def _n_effective(weight: np.ndarray) -> float:
    """Number of cells of equal weight that would say as much (Kish)."""
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def _bounds(
    wrong: np.ndarray,
    labelled: np.ndarray,
    weight: np.ndarray,
    codes: np.ndarray | None,
) -> tuple[float, float, float]:
    """Share of wrong labels among those handed out with its one-sided lower and upper bound; NaN without any.

    Of the exact interval and that over groups the wider end counts: groups without an error do not differ, and prove
    nothing.
    """
    total = float(weight[labelled].sum())
    if not total:
        return float("nan"), float("nan"), float("nan")
    share = min(float((wrong * weight).sum()) / total, 1.0)
    n = _n_effective(weight[labelled])
    k = share * n
    low = float(beta.ppf(1 - SURE, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(SURE, k + 1, n - k)) if k < n else 1.0
    if codes is not None:
        sums = [np.bincount(codes, weights=x * weight) for x in (wrong, labelled)]
        n_groups = int((sums[1] > 0).sum())
        if n_groups < 2:
            return share, 0.0, 1.0
        spread = np.sqrt(n_groups / (n_groups - 1) * ((sums[0] - share * sums[1]) ** 2).sum()) / total
        reach = float(t.ppf(SURE, n_groups - 1) * spread)
        low, high = max(min(low, share - reach), 0.0), min(max(high, share + reach), 1.0)
    return share, low, high


def _conformal(wrong: np.ndarray, weight: np.ndarray) -> float:
    """Bound of the expected share of cells with a wrong label: one more cell, and that one wrong."""
    n = _n_effective(weight)
    return (float((wrong * weight).sum()) / max(float(weight.sum()), 1e-12) * n + 1) / (n + 1)
