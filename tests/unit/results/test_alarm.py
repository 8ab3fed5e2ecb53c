"""Runs whose labels should not be believed are recognised without observed labels; good runs raise no alarm."""

import numpy as np
import pytest

from labeltransfer.results.trust.alarm import Alarm, judge, mixing

N_REFERENCE, N_QUERY = 200, 400
IS_QUERY = np.arange(N_REFERENCE + N_QUERY) >= N_REFERENCE
HELD_OUT = np.arange(N_REFERENCE + N_QUERY) < 20


def judged(*, differ: float, far: float, mixed: float = 1.0, held_out: np.ndarray = HELD_OUT) -> Alarm:
    """Judge cells of which a share of the query's get another label from every method, and a share lies far off."""
    place = np.concatenate([np.ones(N_REFERENCE), np.arange(N_QUERY) / N_QUERY])
    agreement, percentile = np.where(place < differ, 0.0, 1.0), np.where(place < far, 100.0, 40.0)
    return judge(agreement, percentile, IS_QUERY, held_out, mixed=mixed)


@pytest.mark.parametrize(
    ("differ", "far", "level"),
    [
        (0.04, 0.05, "ok"),
        (0.15, 0.05, "doubt"),
        (0.05, 0.9, "doubt"),
        (0.15, 0.9, "alarm"),
        (0.3, 0.05, "alarm"),
    ],
)
def test_disagreement_raises_the_alarm_and_distance_makes_it_worse(differ: float, far: float, level: str) -> None:
    found = judged(differ=differ, far=far)
    assert found.level == level
    assert bool(found.reasons) == (level != "ok")
    assert found.disagreement == pytest.approx(differ) and found.disagreement_reference == 0


def test_without_another_classifier_nothing_is_known_and_that_is_a_doubt() -> None:
    unknown, percentile = np.full(len(IS_QUERY), np.nan), np.full(len(IS_QUERY), 40.0)
    found = judge(unknown, percentile, IS_QUERY, HELD_OUT, mixed=1.0)
    assert found.level == "doubt" and "No other classifier" in found.reasons[0]
    assert found.as_dict()["disagreement"] is None


def test_sides_that_do_not_mix_are_no_reason_by_themselves() -> None:
    assert judged(differ=0.05, far=0.1, mixed=0.0).level == "ok"
    assert any("hardly mix" in reason for reason in judged(differ=0.6, far=0.1, mixed=0.0).reasons)


def test_without_held_out_cells_it_is_the_query_that_counts() -> None:
    found = judged(differ=0.6, far=0.0, held_out=np.zeros(len(IS_QUERY), bool))
    assert found.level == "alarm" and found.as_dict()["disagreement_reference"] is None
    assert "held-out" not in " ".join(found.reasons)


def test_mixing_is_one_at_random_and_nothing_for_sides_apart() -> None:
    latent = np.random.default_rng(0).normal(size=(len(IS_QUERY), 5)).astype(np.float32)
    assert mixing(latent, IS_QUERY) == pytest.approx(1, abs=0.1)
    latent[IS_QUERY, 0] += 100
    assert mixing(latent, IS_QUERY) == 0


def test_mixing_of_a_side_of_one_cell_is_not_known() -> None:
    assert np.isnan(mixing(np.zeros((3, 2), np.float32), np.array([False, True, True])))
