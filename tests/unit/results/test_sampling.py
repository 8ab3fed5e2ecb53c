"""The sample of cells that a map draws."""

import numpy as np
import pandas as pd
import pytest

from labeltransfer.results.maps import sampling


def many_cells(n_cells: int = 6000, seed: int = 3) -> pd.DataFrame:
    """A tenth reference; 'rare' is predicted for 7 query cells, and one cell alone is observed as 'single'."""
    rng = np.random.default_rng(seed)
    side = np.where(np.arange(n_cells) < n_cells // 10, "reference", "query")
    predicted = rng.choice(["A", "B", "C"], n_cells, p=[0.6, 0.3, 0.1]).astype(object)
    observed = np.where(rng.random(n_cells) < 0.9, predicted, "A").astype(object)
    observed[rng.random(n_cells) < 0.05] = None
    predicted[2000:2007] = "rare"
    observed[5000] = "single"
    return pd.DataFrame(
        {
            "side": pd.Categorical(side),
            "predicted_label": pd.Categorical(predicted),
            "observed_label": pd.Categorical(observed),
        }
    )


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    return many_cells()


def test_few_cells_are_all_drawn(cells: pd.DataFrame) -> None:
    assert sampling.sample_rows(cells, n_most=6000).tolist() == list(range(6000))


def test_a_sample_has_the_size_that_was_asked_for_each_row_once_in_order(cells: pd.DataFrame) -> None:
    rows = sampling.sample_rows(cells, n_most=1000)
    assert len(rows) == 1000
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0 and rows[-1] < 6000


def test_a_sample_is_the_same_each_time_and_another_with_another_seed(cells: pd.DataFrame) -> None:
    first = sampling.sample_rows(cells, n_most=1000)
    assert np.array_equal(first, sampling.sample_rows(cells.copy(), n_most=1000))
    assert not np.array_equal(first, sampling.sample_rows(cells, n_most=1000, seed=1))


def test_no_label_is_lost_and_rare_ones_are_whole(cells: pd.DataFrame) -> None:
    drawn = cells.iloc[sampling.sample_rows(cells, n_most=600)]
    assert (drawn["predicted_label"] == "rare").sum() == 7
    assert (drawn["observed_label"] == "single").sum() == 1
    assert drawn["observed_label"].isna().any()
    together = ["side", "predicted_label", "observed_label"]
    assert len(drawn[together].drop_duplicates()) == len(cells[together].drop_duplicates())


def test_large_groups_keep_their_shares_within_their_side(cells: pd.DataFrame) -> None:
    drawn = cells.iloc[sampling.sample_rows(cells, n_most=2000)]
    for side in ("reference", "query"):
        before = cells.loc[cells["side"] == side, "predicted_label"].value_counts(normalize=True)
        after = drawn.loc[drawn["side"] == side, "predicted_label"].value_counts(normalize=True)
        assert np.abs(before - after).max() < 0.05, side


def test_a_small_side_is_not_crowded_out() -> None:
    cells = many_cells().assign(side=np.where(np.arange(6000) < 300, "reference", "query"))
    drawn = cells.iloc[sampling.sample_rows(cells, n_most=1000)]
    assert 200 <= (drawn["side"] == "reference").sum() <= 300  # a fifth, and not a twentieth


def test_within_a_group_cells_are_taken_at_random_and_not_from_the_start() -> None:
    cells = pd.DataFrame({"side": "query", "predicted_label": "A", "observed_label": "A"}, index=range(10_000))
    rows = sampling.sample_rows(cells, n_most=1000)
    assert np.histogram(rows, bins=4, range=(0, 10_000))[0].min() > 150


def test_more_groups_than_places_still_keep_a_cell_each() -> None:
    labels = [f"label {i}" for i in range(40)] * 5
    cells = pd.DataFrame({"side": "query", "predicted_label": labels, "observed_label": None})
    drawn = cells.iloc[sampling.sample_rows(cells, n_most=10)]
    assert sorted(drawn["predicted_label"]) == sorted(set(labels))


def test_a_colour_that_the_sample_was_not_drawn_by_loses_no_category(cells: pd.DataFrame) -> None:
    mouse = pd.Series(np.where(np.arange(6000) < 3000, "m1", "m2"), dtype=object)
    mouse[[17, 4000, 4001]] = "m3", None, None
    rows = np.setdiff1d(sampling.sample_rows(cells, n_most=500), [17])
    more = sampling.with_every_category(rows, mouse.astype("category"))
    assert np.setdiff1d(more, rows).tolist() == [17]
    assert np.array_equal(sampling.with_every_category(rows, pd.Series(np.arange(6000.0))), rows)


def test_chosen_cells_are_all_drawn_up_to_a_limit(cells: pd.DataFrame) -> None:
    rows = sampling.sample_rows(cells, n_most=500)
    chosen = (cells["predicted_label"] == "B").to_numpy()
    drawn = sampling.with_chosen(rows, chosen)
    assert chosen[drawn].sum() == chosen.sum() > 1000
    assert np.array_equal(drawn[~chosen[drawn]], rows[~chosen[rows]])
    fewer = sampling.with_chosen(rows, chosen, n_most=100)
    assert chosen[fewer].sum() == 100
    assert (np.diff(fewer) > 0).all()
