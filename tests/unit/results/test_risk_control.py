"""Thresholds that keep a promise about the error, on simulated cells whose true error is known."""

import numpy as np
import pytest
from scipy.stats import binom

from labeltransfer.results.levels.back_off import NO_LEVEL, Descent, depths, descend, is_right
from labeltransfer.results.levels.hierarchy import Hierarchy, from_parents
from labeltransfer.results.levels.risk_control import SURE, THRESHOLDS, expected_promise, keep_promise, strictest

LABELS = ["a1", "a2", "a3", "b1", "b2", "c"]
TREE = from_parents(LABELS, {"broad": {label: label[0] for label in LABELS}})
ERROR = 0.05
N_DRAWS = 100


def cells(
    rng: np.random.Generator, n_cells: int, *, heat: float = 1.0, tree: Hierarchy = TREE
) -> tuple[Descent, np.ndarray]:
    """Cells with a label drawn by its true probability; ``heat`` below 1 makes the stated ones too sure.

    Labels of one group are hard to distinguish, groups are easy.
    """
    kinds = np.array([[0, 1, 1, 4, 4, 4], [1, 0, 1, 4, 4, 4], [3, 3, 3, 0, 0.5, 4], [4, 4, 4, 4, 4, 0]])
    logits = -kinds[rng.integers(0, 4, n_cells)] * rng.gamma(2, 1, (n_cells, 1)) + rng.normal(0, 0.3, (n_cells, 6))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    observed = (truth.cumsum(axis=1) < rng.uniform(size=(n_cells, 1))).sum(axis=1).clip(0, 5)
    stated = np.exp(logits / heat) / np.exp(logits / heat).sum(axis=1, keepdims=True)
    return descend(stated, tree), observed


def error_of(descent: Descent, observed: np.ndarray, threshold: float) -> tuple[float, float]:
    """Share of wrong labels among those handed out, and among all cells."""
    depth = depths(descent, threshold)
    wrong = (depth > 0) & ~is_right(descent, observed)[np.maximum(depth, 1) - 1, np.arange(descent.n_cells)]
    return wrong.sum() / max((depth > 0).sum(), 1), wrong.mean()


def true_errors(rng: np.random.Generator, heat: float = 1.0) -> dict[float, tuple[float, float]]:
    """Both errors at each threshold, over so many cells that they are as good as true."""
    many = cells(rng, 40_000, heat=heat)
    return {float(threshold): error_of(*many, float(threshold)) for threshold in THRESHOLDS}


@pytest.mark.parametrize("heat", [1.0, 0.5])
@pytest.mark.parametrize("n_cells", [120, 600])
def test_the_promise_is_kept_in_all_but_a_few_draws(heat: float, n_cells: int) -> None:
    rng = np.random.default_rng(n_cells)
    errors = true_errors(rng, heat)
    broken = given = 0
    for _ in range(N_DRAWS):
        promise = keep_promise(*cells(rng, n_cells, heat=heat), error=ERROR)
        given += promise.kept
        broken += promise.kept and errors[promise.threshold][0] > ERROR
    assert broken <= binom.ppf(0.999, N_DRAWS, 1 - SURE)
    assert given > 0.5 * N_DRAWS


@pytest.mark.parametrize("heat", [1.0, 0.5])
def test_the_conformal_error_is_kept_on_average(heat: float) -> None:
    rng = np.random.default_rng(3)
    true = true_errors(rng, heat)
    found = [keep_promise(*cells(rng, 100, heat=heat), error=ERROR, method="conformal") for _ in range(N_DRAWS)]
    errors = [true[promise.threshold][1] for promise in found if promise.kept]
    assert len(errors) > 0.9 * N_DRAWS
    assert np.mean(errors) <= ERROR + 3 * np.std(errors) / np.sqrt(len(errors))


def test_levels_let_more_cells_keep_a_label_than_Unknown_does() -> None:
    rng = np.random.default_rng(5)
    fine = from_parents(LABELS, {})
    kept = [keep_promise(*cells(np.random.default_rng(7), 800, tree=tree), error=ERROR) for tree in (TREE, fine)]
    more = [1 - p.coverage[NO_LEVEL] for p in kept]
    assert all(p.kept for p in kept) and more[0] > more[1] + 0.1
    assert error_of(*cells(rng, 20_000), kept[0].threshold)[0] < ERROR


def test_less_error_is_borne_by_coarser_labels() -> None:
    descent, observed = cells(np.random.default_rng(1), 3000)
    found = [keep_promise(descent, observed, error=error) for error in (0.02, 0.05, 0.1, 0.2)]
    thresholds = [p.threshold for p in found]
    assert thresholds == sorted(thresholds, reverse=True) and len(set(thresholds)) > 2
    for promise, error in zip(found, (0.02, 0.05, 0.1, 0.2), strict=True):
        low, high = promise.interval
        assert promise.kept and low <= promise.error <= high <= error
        assert sum(promise.coverage.values()) == pytest.approx(1)
        assert promise.share_labelled == pytest.approx(1 - promise.coverage[NO_LEVEL])


def test_a_promise_that_cannot_be_kept_is_not_given() -> None:
    rng = np.random.default_rng(2)
    descent, _ = cells(rng, 500)
    hopeless = keep_promise(descent, rng.integers(0, 6, 500), error=ERROR)
    assert not hopeless.kept and hopeless.error > ERROR
    few = keep_promise(*cells(rng, 30), error=ERROR)  # 30 cells without an error prove no more than 10 %
    assert not few.kept
    none = keep_promise(descent.cells(np.arange(0)), np.array([], dtype=int))
    assert not none.kept and np.isnan(none.error) and np.isnan(none.share_labelled)


def test_labels_that_the_reference_lacks_count_as_errors() -> None:
    descent, observed = cells(np.random.default_rng(4), 1000)
    foreign = np.where(np.arange(1000) % 5 == 0, -1, observed)
    promise = keep_promise(descent, foreign, error=ERROR)
    assert not promise.kept or promise.threshold > keep_promise(descent, observed, error=ERROR).threshold


def test_cells_of_one_donor_count_together() -> None:
    """Donors that differ in how often they are wrong: cells taken for independent promise too much."""
    rng = np.random.default_rng(8)
    donor, broken, n_draws = np.repeat(np.arange(20), 80), {False: 0, True: 0}, 60
    errors = true_errors(rng)
    for _ in range(n_draws):
        descent, observed = cells(rng, len(donor))
        rate = rng.beta(0.25, 8, 20)  # 3 % on average, in a few donors far more
        observed = np.where(rng.uniform(size=len(donor)) < rate[donor], -1, observed)
        for grouped in broken:
            promise = keep_promise(descent, observed, error=0.08, groups=donor if grouped else None)
            true = (1 - 0.25 / 8.25) * errors[promise.threshold][0] + 0.25 / 8.25
            broken[grouped] += promise.kept and true > 0.08
            assert promise.n_groups == 20 * grouped
    assert broken[True] < broken[False] > 0.1 * n_draws


def test_weights_count_cells_as_often_as_they_say() -> None:
    descent, observed = cells(np.random.default_rng(6), 900)
    weights = np.where(observed < 3, 3.0, 1.0)
    twice = np.concatenate([np.arange(900), *[np.flatnonzero(observed < 3)] * 2])
    weighted = keep_promise(descent, observed, weights=weights, error=0.1)
    repeated = keep_promise(descent.cells(twice), observed[twice], error=0.1)
    at = float(weighted.threshold)
    assert weighted.coverage == pytest.approx(repeated.coverage, abs=0.15)
    copied = error_of(descent.cells(twice), observed[twice], at)[0]
    assert weighted.error == pytest.approx(copied, abs=1e-6)
    # Copies add no knowledge: the weighted cells promise no more than they can.
    assert weighted.threshold >= repeated.threshold


def test_without_labels_the_calibrated_confidence_is_the_expectation() -> None:
    rng = np.random.default_rng(9)
    descent, observed = cells(rng, 20_000)
    promise = expected_promise(descent, error=ERROR)
    assert promise.method == "expected" and promise.kept
    assert promise.error <= ERROR
    assert error_of(descent, observed, promise.threshold)[0] == pytest.approx(promise.error, abs=0.01)


def test_a_query_that_is_harder_than_the_reference_gets_coarser_labels() -> None:
    rng = np.random.default_rng(10)
    held_out = keep_promise(*cells(rng, 1500), error=0.1)
    descent, observed = cells(rng, 4000)
    unsure = np.flatnonzero((descent.confidence[0] < 0.9) | (np.arange(4000) % 8 == 0))
    query = descent.cells(unsure)
    both = strictest(held_out, expected_promise(query, error=0.1))
    assert both.kept and both.method == "expected" and both.threshold > held_out.threshold
    assert error_of(query, observed[unsure], held_out.threshold)[0] > 0.1
    assert error_of(query, observed[unsure], both.threshold)[0] < 0.12
    hopeless = keep_promise(descent, rng.integers(0, 6, 4000))
    assert not strictest(held_out, hopeless).kept


def test_an_expected_error_that_cannot_be_borne_is_no_promise() -> None:
    even = descend(np.full((50, 6), 1 / 6), from_parents(LABELS, {}))
    assert not expected_promise(even).kept


def test_thresholds_go_from_the_strictest_to_none() -> None:
    assert (np.diff(THRESHOLDS) < 0).all() and THRESHOLDS[-1] == 0


def test_shapes_that_do_not_match_are_refused() -> None:
    descent, observed = cells(np.random.default_rng(0), 20)
    with pytest.raises(ValueError, match="20 cells"):
        keep_promise(descent, observed[:10])
    with pytest.raises(ValueError, match="20 cells"):
        keep_promise(descent, observed, groups=np.array(["d1"] * 3))
