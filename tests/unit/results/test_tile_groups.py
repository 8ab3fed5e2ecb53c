"""What lies behind a tile: its groups, their numbers, what is compared."""

import numpy as np
import pandas as pd
import pytest

from labeltransfer.results.tile import groups

ROWS = [  # side, observed, predicted, kNN's label, cells
    ("reference", "A", "A", "A", 30),
    ("reference", "A", "B", "A", 2),
    ("reference", "B", "B", "B", 40),
    ("query", "A", "A", "A", 25),
    ("query", "B", "B", "B", 21),
    ("query", "A", "B", "A", 5),
    ("query", "A", "C", "C", 4),
    ("query", "X", "B", "B", 6),
    ("query", "X", "A", "C", 3),
    ("query", None, "A", "A", 7),
]


@pytest.fixture
def cells() -> pd.DataFrame:
    columns = list(zip(*[row[:4] for row in ROWS for _ in range(row[4])], strict=True))
    names = ("side", "observed_label", "predicted_label", "knn_label")
    table = pd.DataFrame({name: pd.Categorical(column) for name, column in zip(names, columns, strict=True)})
    table["scanvi_label"] = table["predicted_label"]
    table["confidence"] = np.linspace(0, 1, len(table))
    table["n_counts"] = np.arange(len(table)) + 1.0
    return table


def sizes(found: groups.Pair) -> dict[str, int]:
    return {group.name: len(group) for group in found.groups}


def test_parents_are_cells_with_both_labels_equal_on_the_same_side(cells: pd.DataFrame) -> None:
    found = groups.pair_of(cells, "query", "A", "B", source="same")
    assert sizes(found) == {"these cells": 5, "A, query": 25, "B, query": 21}
    rows = cells.iloc[found.these.rows]
    assert (rows[["side", "observed_label", "predicted_label"]] == ["query", "A", "B"]).all().all()
    assert not set(found.these.rows) & {*found.parents[0].rows, *found.parents[1].rows}


def test_reference_parents_are_of_the_reference(cells: pd.DataFrame) -> None:
    assert sizes(groups.pair_of(cells, "query", "A", "B", source="reference")) == {
        "these cells": 5,
        "A, reference": 30,
        "B, reference": 40,
    }


def test_a_label_that_cannot_be_predicted_is_compared_with_its_other_cells(cells: pd.DataFrame) -> None:
    assert sizes(groups.pair_of(cells, "query", "X", "B", source="same")) == {
        "these cells": 6,
        "X (observed only), query": 3,
        "B, query": 21,
    }
    assert sizes(groups.pair_of(cells, "query", "X", "B", source="reference")) == {
        "these cells": 6,
        "X, reference": 0,
        "B, reference": 40,
    }


def test_the_diagonal_is_held_against_the_disputed_and_the_others(cells: pd.DataFrame) -> None:
    assert sizes(groups.pair_of(cells, "query", "A", "A", source="same")) == {
        "these cells": 25,
        "only observed or only predicted as A": 5 + 4 + 3 + 7,
        "other query cells": 21 + 6,
    }


def test_the_own_side_is_preferred_where_it_has_enough(cells: pd.DataFrame) -> None:
    assert groups.best_source(cells, "query", "A", "B") == "same"
    assert groups.best_source(cells.iloc[:-1].drop(index=range(75, 85)), "query", "A", "B") == "reference"
    assert groups.best_source(cells, "query", "X", "B") == "same"  # the reference has no X
    assert groups.best_source(cells, "reference", "A", "B") == "same"


def test_numbers_are_medians_of_the_columns_that_there_are(cells: pd.DataFrame) -> None:
    found = groups.pair_of(cells, "query", "A", "B", source="same")
    table = groups.group_medians(cells, [*found.groups, groups.Group("none", np.array([], dtype=int))])
    assert list(table) == ["group", "n_cells", "confidence", "n_counts"]
    assert table["n_counts"][0] == np.median(found.these.rows + 1)
    assert np.isnan(table["n_counts"][3])


def test_said_counts_labels_by_method_and_leaves_absent_methods_out(cells: pd.DataFrame) -> None:
    table = groups.labels_by_method(cells, groups.tile_rows(cells, "query", "X", "A"))
    assert table.to_dict("list") == {"label": ["A", "C"], "scANVI": [3, 0], "kNN on the latent": [0, 3]}


def test_what_is_held_is_bounded_and_keeps_every_pair(cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    assert groups.read_rows(cells).tolist() == list(range(len(cells)))
    monkeypatch.setattr(groups, "MOST_READ", 60)
    held = groups.read_rows(cells)
    assert len(held) == 60
    assert (np.diff(held) > 0).all()
    names = ["side", "observed_label", "predicted_label"]
    kept = cells.iloc[held][names].drop_duplicates()
    assert len(kept) == len(ROWS)
    assert np.array_equal(held, groups.read_rows(cells))


def test_what_is_compared_is_a_bounded_sample_that_stays_the_same() -> None:
    held = np.arange(0, 3000, 2)
    assert groups.compared_rows(np.array([4, 5, 8]), held).tolist() == [2, 4]
    chosen = groups.compared_rows(np.arange(3000), held)
    assert len(np.unique(chosen)) == groups.MOST_COMPARED
    assert np.array_equal(chosen, groups.compared_rows(np.arange(3000), held))
    assert groups.compared_rows(np.array([], dtype=int), held).tolist() == []
