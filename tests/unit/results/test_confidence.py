"""Calibration: what a confidence is worth."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from labeltransfer.results.trust.confidence import (
    FEWEST,
    calibrated,
    cross_calibrated,
    fit_temperature,
    reliability,
    risk_coverage,
)

LABELS = ["B", "HSC", "T"]


def cells(n_cells: int, *, sharpness: float, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Probabilities that are honest at a sharpness of 1 and too sure above, and labels drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (n_cells, 3))
    honest = softmax(scores, axis=1)
    labels = np.array(LABELS, dtype=object)[(honest.cumsum(axis=1) > rng.random((n_cells, 1))).argmax(axis=1)]
    return pd.DataFrame(softmax(scores * sharpness, axis=1), columns=LABELS), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_probabilities_too_sure_or_not_sure_enough(sharpness: float) -> None:
    soft, labels = cells(20_000, sharpness=sharpness)
    assert fit_temperature(soft, labels) == pytest.approx(sharpness, rel=0.05)


def test_calibration_changes_no_label_and_keeps_rows_that_sum_to_one() -> None:
    soft, _ = cells(500, sharpness=3.0)
    after = calibrated(soft, 2.5)
    assert (after.to_numpy().argmax(axis=1) == soft.to_numpy().argmax(axis=1)).all()
    assert np.allclose(after.sum(axis=1), 1, atol=1e-5)
    assert (after.max(axis=1) < soft.max(axis=1)).all()


def test_calibration_brings_the_error_down_on_cells_that_it_has_not_seen() -> None:
    soft, labels = cells(2_000, sharpness=3.0)
    right = np.array(LABELS)[soft.to_numpy().argmax(axis=1)] == labels
    before = reliability(soft.max(axis=1).to_numpy(), right)
    after = reliability(cross_calibrated(soft, labels).max(axis=1).to_numpy(), right)
    assert before.ece > 0.1 and after.ece < 0.04


def test_held_out_cells_that_are_all_right_do_not_make_every_cell_certain() -> None:
    soft, _ = cells(40, sharpness=1.0)
    labels = np.array(LABELS, dtype=object)[soft.to_numpy().argmax(axis=1)]
    assert calibrated(soft, fit_temperature(soft, labels)).max(axis=1).mean() < 0.995


def test_too_few_cells_leave_the_temperature_at_one() -> None:
    soft, labels = cells(FEWEST - 1, sharpness=3.0)
    assert fit_temperature(soft, labels) == 1.0


def test_votes_of_zero_can_be_calibrated() -> None:
    soft = pd.DataFrame({"B": [1.0, 0.0] * 20, "T": [0.0, 1.0] * 20})
    labels = np.array(["B", "T"] * 19 + ["T", "B"], dtype=object)  # two of 40 are wrong
    after = calibrated(soft, fit_temperature(soft, labels))
    assert after.max(axis=1).mean() == pytest.approx(0.95, abs=0.03)


def test_a_label_that_cannot_be_predicted_is_refused() -> None:
    soft, labels = cells(50, sharpness=1.0)
    labels[0] = "NK"
    with pytest.raises(ValueError, match="'NK'"):
        fit_temperature(soft, labels)


def test_reliability_has_its_denominators_and_leaves_empty_ranges_out() -> None:
    found = reliability(np.array([0.95, 0.91, 1.0, 0.52]), np.array([True, False, True, True]))
    assert found.n_cells.tolist() == [1, 3]
    assert found.accuracy.tolist() == [1.0, pytest.approx(2 / 3)]
    assert found.confidence.tolist() == [pytest.approx(0.52), pytest.approx(2.86 / 3)]
    assert found.ece == pytest.approx((0.48 + 3 * (2.86 / 3 - 2 / 3)) / 4)


def test_nothing_to_judge_gives_no_calibration_error() -> None:
    assert np.isnan(reliability(np.array([]), np.array([], bool)).ece)


def test_risk_rises_as_doubtful_cells_are_kept() -> None:
    coverage, risk = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == [0, 0, pytest.approx(1 / 3), 0.25]
