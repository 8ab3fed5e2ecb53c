"""Runs whose labels should not be believed are recognised without observed labels; good runs raise no alarm."""

import numpy as np
import pandas as pd
import pytest

from labeltransfer.results.trust.alarm import judge, mixing

N_REFERENCE, N_QUERY = 200, 400
IS_QUERY = np.arange(N_REFERENCE + N_QUERY) >= N_REFERENCE
HELD_OUT = np.arange(N_REFERENCE + N_QUERY) < 20


def table(*, differ: float, far: float) -> pd.DataFrame:
    """Cells of which a share of the query's get another label from the genes, and a share lies far off."""
    place = np.concatenate([np.ones(N_REFERENCE), np.arange(N_QUERY) / N_QUERY])
    return pd.DataFrame(
        {
            "predicted_label": pd.Categorical(np.full(len(place), "B")),
            "regression_label": pd.Categorical(np.where(place < differ, "T", "B")),
            "regression_confidence": np.full(len(place), 0.9),
            "distance_percentile": np.where(place < far, 100.0, 40.0),
        }
    )


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
    found = judge(table(differ=differ, far=far), IS_QUERY, HELD_OUT, mixed=1.0)
    assert found.level == level
    assert bool(found.reasons) == (level != "ok")
    assert found.disagreement == pytest.approx(differ) and found.disagreement_reference == 0


def test_cells_that_nobody_is_sure_of_are_no_disagreement() -> None:
    cells = table(differ=0.5, far=0.0)  # such as those of labels that the reference lacks
    cells.loc[cells["regression_label"] == "T", "regression_confidence"] = 0.5
    assert judge(cells, IS_QUERY, HELD_OUT, mixed=1.0).level == "ok"


def test_sides_that_do_not_mix_are_no_reason_by_themselves() -> None:
    assert judge(table(differ=0.05, far=0.1), IS_QUERY, HELD_OUT, mixed=0.0).level == "ok"
    reasons = judge(table(differ=0.6, far=0.1), IS_QUERY, HELD_OUT, mixed=0.0).reasons
    assert any("hardly mix" in reason for reason in reasons)


def test_without_held_out_cells_it_is_the_query_that_counts() -> None:
    found = judge(table(differ=0.6, far=0.0), IS_QUERY, np.zeros(len(IS_QUERY), bool), mixed=1.0)
    assert found.level == "alarm" and found.as_dict()["disagreement_reference"] is None
    assert "held-out" not in " ".join(found.reasons)


def test_mixing_is_one_at_random_and_nothing_for_sides_apart() -> None:
    latent = np.random.default_rng(0).normal(size=(len(IS_QUERY), 5)).astype(np.float32)
    assert mixing(latent, IS_QUERY) == pytest.approx(1, abs=0.1)
    latent[IS_QUERY, 0] += 100
    assert mixing(latent, IS_QUERY) == 0


def test_mixing_of_a_side_of_one_cell_is_not_known() -> None:
    assert np.isnan(mixing(np.zeros((3, 2), np.float32), np.array([False, True, True])))
