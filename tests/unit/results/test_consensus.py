"""What the panel says together, and how far cells lie from labelled ones."""

import numpy as np
import pandas as pd
import pytest

from labeltransfer.neighbours import nearest_labelled
from labeltransfer.results.trust import consensus
from labeltransfer.results.trust.confidence import calibrated
from labeltransfer.results.trust.distance import distance_percentile
from tests.support.builders import clouds

NAMES = ["B", "T"]


def test_cells_of_a_kind_without_a_label_lie_beyond_the_reference() -> None:
    latent, labels, labelled = clouds()
    percentile = distance_percentile(nearest_labelled(latent, labelled), labels != "Unknown")
    assert (percentile[labels == "Unknown"] == 100).all()
    assert np.median(percentile[labelled]) == pytest.approx(50, abs=2)


def soft_of(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows, np.float32), columns=NAMES)


def table_of(
    softs: dict[str, pd.DataFrame], answer: consensus.Answer = "consensus", **temperatures: float
) -> pd.DataFrame:
    trusted = {name: calibrated(soft, temperatures.get(name, 1.0)) for name, soft in softs.items()}
    combined = consensus.consensus_soft(trusted, dict.fromkeys(softs))
    raw = combined if answer == "consensus" else softs["scanvi"]
    return consensus.opinion_table(trusted | {"consensus": combined}, raw, answer=answer)


PANEL = {
    "scanvi": soft_of((0.9, 0.1), (0.6, 0.4)),
    "log_regression": soft_of((0.8, 0.2), (0.1, 0.9)),
    "forest": soft_of((0.7, 0.3), (0.9, 0.1)),
    "regression": soft_of((0.1, 0.9), (0.3, 0.7)),
}


def test_the_consensus_is_the_label_and_every_column_speaks_of_it() -> None:
    table = table_of(PANEL)
    assert table["predicted_label"].tolist() == table["consensus_label"].tolist() == ["B", "T"]
    # The forest has no vote: (0.9 + 0.8 + 0.1) / 3 and (0.4 + 0.9 + 0.7) / 3
    assert table["confidence"].tolist() == [pytest.approx(1.8 / 3), pytest.approx(2 / 3)]
    assert table["second_label"].tolist() == ["T", "B"]
    assert table["second_confidence"].tolist() == [pytest.approx(1.2 / 3), pytest.approx(1 / 3)]
    assert table["agreement"].tolist() == [2, 2]  # of three: the forest's word is not counted
    assert set(table["decided_by"]) == {"consensus"}
    assert table["scanvi_label"].tolist() == ["B", "B"] and table["regression_label"].tolist() == ["T", "T"]


def test_where_scanvi_answers_every_column_speaks_of_its_label() -> None:
    table = table_of(PANEL, "scanvi")
    assert table["predicted_label"].tolist() == table["scanvi_label"].tolist() == ["B", "B"]
    assert table["consensus_label"].tolist() == ["B", "T"]
    assert table["confidence"].tolist() == [pytest.approx(0.9), pytest.approx(0.6)]
    assert table["second_label"].tolist() == ["T", "T"]
    assert table["agreement"].tolist() == [2, 1]
    assert set(table["decided_by"]) == {"scanvi"}


def test_agreement_is_a_share_of_the_methods_that_the_label_does_not_come_from() -> None:
    agreement = np.array([4, 1])
    assert consensus.agreement_share(agreement, 4, "consensus").tolist() == [1, 0.25]
    assert consensus.agreement_share(agreement, 4, "scanvi").tolist() == [1, 0]
    assert np.isnan(consensus.agreement_share(agreement, 1, "consensus")).all()


def test_of_a_cell_that_no_method_sees_all_labels_are_equally_probable() -> None:
    labels, unseen = np.array(["B", "T"], dtype=object), np.array([False, True])
    weighed = consensus.weigh(PANEL, np.array([], int), labels, unseen=unseen)
    table = consensus.opinion_table(weighed.calibrated, weighed.raw["consensus"])
    assert table["confidence"].iat[1] == table["scanvi_confidence"].iat[1] == pytest.approx(0.5)
    assert table["confidence"].iat[0] > 0.6


def test_a_method_that_fails_on_held_out_cells_hardly_counts() -> None:
    softs = {"scanvi": soft_of((0.9, 0.1)), "regression": soft_of((0.3, 0.7))}
    equal = consensus.consensus_soft(softs, {"scanvi": 0.9, "regression": 0.9})
    unequal = consensus.consensus_soft(softs, {"scanvi": 0.1, "regression": 0.95})
    assert equal["B"].iat[0] == pytest.approx(0.6)
    assert unequal["B"].iat[0] < 0.31


def test_calibration_is_kept_next_to_the_confidence_as_it_came() -> None:
    softs = {"scanvi": soft_of((0.99, 0.01))}
    table = table_of(softs, "scanvi", scanvi=2.0)
    assert table["raw_confidence"].iat[0] == pytest.approx(0.99)
    assert table["confidence"].iat[0] == pytest.approx(99**0.5 / (1 + 99**0.5), abs=1e-4)


def test_a_report_without_held_out_cells_says_nothing() -> None:
    report = consensus.held_out_report(soft_of((0.9, 0.1)).iloc[:0], np.array([], dtype=object))
    assert (report["n_cells"], report["accuracy"], report["temperature"]) == (0, None, 1.0)
    assert consensus.best_method({"scanvi": report}) is None


def test_the_best_method_is_chosen_by_macro_f1_on_held_out_cells() -> None:
    labels = np.array(["B"] * 30 + ["T"] * 3, dtype=object)
    always_b = soft_of(*[(0.9, 0.1)] * 33)
    better = soft_of(*[(0.9, 0.1)] * 28, *[(0.2, 0.8)] * 5)
    reports = {"scanvi": consensus.held_out_report(always_b, labels), "knn": consensus.held_out_report(better, labels)}
    assert reports["scanvi"]["accuracy"] == pytest.approx(30 / 33)
    assert consensus.best_method(reports) == "knn"
