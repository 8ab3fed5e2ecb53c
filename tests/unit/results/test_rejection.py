"""Leaving doubtful cells without a label."""

import numpy as np
import pandas as pd
import pytest

from labeltransfer.results.export.predictions import predictions
from labeltransfer.results.trust.rejection import KEEP_ALL, Rule, readout, rejected


@pytest.fixture
def cells() -> pd.DataFrame:
    observed = pd.Categorical(["B", "B", "T", "T", "NK", None])
    predicted = pd.Categorical(["B", "T", "T", "T", "T", "B"])
    return pd.DataFrame(
        {
            "cell_id": list("abcdef"),
            "side": pd.Categorical(["query"] * 6),
            "observed_label": observed,
            "predicted_label": predicted,
            "confidence": np.array([0.9, 0.5, 0.8, 0.7, 0.6, 0.95], np.float32),
            "distance_percentile": np.array([10, 20, 30, 99.5, 100, 5], np.float32),
            "consensus_label": pd.Categorical(["B", "B", "T", "T", "T", "B"]),
            "consensus_confidence": np.full(6, 0.75, np.float32),
        }
    )


def test_nothing_is_rejected_unless_asked(cells: pd.DataFrame) -> None:
    assert not rejected(cells, KEEP_ALL).any() and not KEEP_ALL.active
    assert "rejected_label" not in predictions(cells, "r")


def test_either_threshold_rejects(cells: pd.DataFrame) -> None:
    assert rejected(cells, Rule(confidence=0.65)).tolist() == [False, True, False, False, True, False]
    assert rejected(cells, Rule(distance=99)).tolist() == [False, False, False, True, True, False]
    assert rejected(cells, Rule(0.65, 99)).sum() == 3


def test_the_readout_has_its_denominators(cells: pd.DataFrame) -> None:
    everything = readout(cells, KEEP_ALL, ["B", "T"])
    # The NK cell and the one without a label are not scored; one of the other four differs.
    assert (everything.coverage, everything.n_scored, everything.error) == (1.0, 4, 0.25)
    kept = readout(cells, Rule(confidence=0.65), ["B", "T"])
    assert (kept.n_kept, kept.n_cells, kept.n_scored, kept.error) == (4, 6, 3, 0.0)
    assert kept.expected_error == pytest.approx(1 - (0.9 + 0.8 + 0.7 + 0.95) / 4)


def test_a_rule_that_keeps_nobody_has_no_error(cells: pd.DataFrame) -> None:
    found = readout(cells, Rule(confidence=1.0), ["B", "T"])
    assert found.n_kept == 0 and np.isnan(found.error) and np.isnan(found.expected_error)


def test_a_run_without_distances_can_still_be_cut_by_confidence(cells: pd.DataFrame) -> None:
    old = cells.drop(columns="distance_percentile")
    assert rejected(old, Rule(0.65, 99)).sum() == 2


def test_rejected_cells_leave_as_unknown_next_to_what_they_were(cells: pd.DataFrame) -> None:
    table = predictions(cells, "r", rule=Rule(confidence=0.65))
    assert table["predicted_label"].tolist() == ["B", "Unknown", "T", "T", "Unknown", "B"]
    assert table["rejected_label"].fillna("").tolist() == ["", "T", "", "", "T", ""]
