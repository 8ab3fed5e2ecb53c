"""The table of cells, the scores and the confusion matrix."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import cell_table
from tests.support.builders import opinions_of

QUERY = [  # observed, predicted
    ("B", "B"),
    ("B", "B"),
    ("B", "T"),
    ("T", "T"),
    ("NK", "T"),  # the reference has no NK
    (None, "B"),
]


def make_cells(query: list[tuple[str | None, str]]) -> pd.DataFrame:
    reference = [("B", "B"), ("T", "T"), ("T", "B"), ("HSC", "HSC")]
    pairs = reference + query
    labels = ["B", "HSC", "T"]
    n_cells = len(pairs)
    obs = pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(n_cells)],
            "side": ["reference"] * len(reference) + ["query"] * len(query),
            "technology": "10x",
            "batch": "one",
            "observed_label": pd.Categorical([observed for observed, _ in pairs]),
            "n_counts": np.arange(n_cells) + 100.0,
            "n_genes": np.arange(n_cells) + 10,
            "obs.sex": "female",
        },
        index=[f"unique{i}" for i in range(n_cells)],
    )
    soft = pd.DataFrame(0.1, index=obs.index, columns=labels)
    for row, (_, predicted) in enumerate(pairs):
        soft.iloc[row, labels.index(predicted)] = 0.7
        soft.iloc[row, (labels.index(predicted) + 1) % 3] = 0.2
    points = np.arange(2 * n_cells, dtype=float).reshape(n_cells, 2)
    return cell_table(obs, opinions_of(soft), mde_scvi=points, mde_scanvi=-points)


@pytest.fixture
def cells() -> pd.DataFrame:
    return make_cells(QUERY)


def test_cell_table_holds_prediction_runner_up_and_both_maps(cells: pd.DataFrame) -> None:
    cell = cells.loc["unique6"]
    assert (cell["observed_label"], cell["predicted_label"], cell["second_label"]) == ("B", "T", "B")
    assert cell["confidence"] == pytest.approx(0.7)
    assert cell["second_confidence"] == pytest.approx(0.2)
    assert (cell["scanvi_label"], cell["decided_by"], cell["agreement"]) == ("T", "consensus", 6)
    assert (cell["scvi_1"], cell["scvi_2"], cell["scanvi_1"], cell["scanvi_2"]) == (12, 13, -12, -13)
    assert cell["obs.sex"] == "female"


def test_cell_table_survives_parquet(cells: pd.DataFrame, tmp_path: Path) -> None:
    cells.to_parquet(tmp_path / "cells.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "cells.parquet"), cells)


def test_cell_table_has_no_category_without_cells(cells: pd.DataFrame) -> None:
    assert list(cells["observed_label"].cat.categories) == ["B", "HSC", "NK", "T"]


def test_cell_table_refuses_tables_of_other_lengths(cells: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="10 cells"):
        cell_table(
            cells,
            pd.DataFrame({"agreement": [1]}),
            mde_scvi=np.zeros((10, 2)),
            mde_scanvi=np.zeros((10, 2)),
        )


def test_only_query_cells_with_a_label_of_the_reference_are_scored(cells: pd.DataFrame) -> None:
    query = evaluate.metrics(cells)["query"]
    assert (query["n_cells"], query["n_scored"], query["n_correct"], query["n_unlabelled"]) == (6, 4, 3, 1)
    assert query["accuracy"] == 3 / 4
    assert query["labels_missing_in_reference"] == {"NK": 1}


def test_macro_f1_is_the_mean_over_labels_that_scored_cells_have(cells: pd.DataFrame) -> None:
    # B: precision 2/2, recall 2/3; T: precision 1/2 (the NK cell is not scored), recall 1. HSC has no scored cell.
    query = evaluate.metrics(cells)["query"]
    assert query["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert query["n_labels"] == 2


def test_reference_scores_are_apart_and_say_that_they_were_trained_on(cells: pd.DataFrame) -> None:
    reference = evaluate.metrics(cells)["reference"]
    assert reference["trained_on"] is True
    assert (reference["n_scored"], reference["accuracy"]) == (4, 3 / 4)


def test_per_label_scores_have_their_denominators(cells: pd.DataFrame) -> None:
    rows = evaluate.per_label(cells).set_index("label")
    assert list(rows.index) == ["B", "T"]
    assert rows.loc["B"].to_dict() == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3, "n_predicted": 3}
    )
    assert rows.loc["T", "n_predicted"] == 3  # of which one cell is scored right, one wrong, and one is not scored


def test_a_label_that_no_scored_cell_has_gets_no_recall() -> None:
    rows = evaluate.per_label(make_cells([("B", "HSC"), ("T", "T")])).set_index("label")
    assert np.isnan(rows.loc["HSC", "recall"])
    assert rows.loc["HSC", "precision"] == 0
    assert np.isnan(rows.loc["B", "precision"])


def test_a_query_without_labels_gives_none_and_not_zero() -> None:
    scores = evaluate.metrics(make_cells([(None, "B"), (None, "T")]))
    assert scores["query"]["accuracy"] is None
    assert scores["query"]["macro_f1"] is None
    assert {row["label"]: row["n_predicted"] for row in scores["per_label"]} == {"B": 1, "T": 1}
    assert "NaN" not in json.dumps(scores)


def test_confusion_counts_every_labelled_query_cell_once(cells: pd.DataFrame) -> None:
    table = evaluate.confusion(cells)
    assert table["n_cells"].sum() == 5
    pairs = table.set_index(["observed_label", "predicted_label"])["n_cells"]
    assert pairs["B", "B"] == 2
    assert pairs["B", "T"] == 1
    assert pairs["NK", "T"] == 1
    assert pairs["T", "B"] == 0


@pytest.mark.parametrize(("normalize", "axis"), [("observed", "observed_label"), ("predicted", "predicted_label")])
def test_confusion_shares_add_up_to_one(cells: pd.DataFrame, normalize: evaluate.Normalize, axis: str) -> None:
    sums = evaluate.confusion(cells, normalize=normalize).groupby(axis)["share"].sum()
    assert np.allclose(sums, 1)


def test_confusion_marks_labels_that_the_reference_lacks(cells: pd.DataFrame) -> None:
    table = evaluate.confusion(cells)
    assert set(table.loc[~table["in_reference"], "observed_label"]) == {"NK"}
    assert "NK" not in set(table["predicted_label"])


def test_confusion_of_a_query_without_labels_is_empty() -> None:
    assert evaluate.confusion(make_cells([(None, "B")])).empty


def test_scores_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    labels = np.array(["B", "HSC", "T"])
    pairs = list(zip(labels[rng.integers(0, 3, 300)], labels[rng.integers(0, 3, 300)], strict=True))
    cells = make_cells([*pairs, ("NK", "T"), (None, "B")])
    observed, predicted = (list(column) for column in zip(*pairs, strict=True))
    query = evaluate.metrics(cells)["query"]
    assert query["macro_f1"] == pytest.approx(f1_score(observed, predicted, average="macro"))
    rows = evaluate.per_label(cells)
    expected = precision_recall_fscore_support(observed, predicted, labels=list(labels))
    for name, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert rows[name].to_numpy() == pytest.approx(values), name
    table = evaluate.confusion(cells).query("observed_label != 'NK'")
    assert table["n_cells"].tolist() == confusion_matrix(observed, predicted, labels=list(labels)).ravel().tolist()
