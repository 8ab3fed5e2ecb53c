"""Runs of more cells than a map draws: what is said, what is drawn, and that everything else takes all cells."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.results.maps import sampling
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from tests.support.pages import N_QUERY, N_REFERENCE, finished_run, page, said

N_CELLS = N_REFERENCE + N_QUERY
MOST = 40
"""Cells that a map draws in these tests, of 50."""


@pytest.fixture
def run(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A finished run of more cells than a map draws, of which no group is so small that it must be whole."""
    monkeypatch.setattr(sampling, "MOST_DRAWN", MOST)
    monkeypatch.setattr(sampling, "WHOLE_GROUP", 2)
    yield finished_run()
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def cells(run: Run) -> pd.DataFrame:
    return pd.read_parquet(run.artefacts.cells).reset_index(drop=True)


def figure(at: AppTest) -> dict[str, Any]:
    return json.loads(at.get("plotly_chart")[0].proto.spec)


def numbers(values: Any) -> np.ndarray:
    """An array as plotly sends it."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.array([value for value in values if value is not None], dtype=float)


def points(at: AppTest) -> dict[int, tuple[float, float]]:
    """Place on the map by the row that a point carries."""
    found: dict[int, tuple[float, float]] = {}
    for trace in figure(at)["data"]:
        if "customdata" in trace:
            rows, x, y = (numbers(trace[name]) for name in ("customdata", "x", "y"))
            assert not set(rows) & set(found), "a cell is drawn twice"
            found |= {int(row): (float(a), float(b)) for row, a, b in zip(rows, x, y, strict=False)}
    return found


@pytest.mark.parametrize(("view", "first"), [("Side by side", 0), ("Overlaid", 0), ("Query", N_REFERENCE)])
def test_each_drawn_point_carries_the_row_of_its_cell_among_the_shown(
    run: Run, cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, view: str, first: int
) -> None:
    monkeypatch.setattr(sampling, "MOST_DRAWN", 20)
    drawn = points(page("explore", run, {"explore-view": view}))
    assert len(drawn) == 20
    shown = cells.iloc[first:].reset_index(drop=True)
    for row, place in drawn.items():
        assert place == pytest.approx(tuple(shown.loc[row, ["scanvi_1", "scanvi_2"]]))


def test_explore_says_how_many_of_how_many_are_drawn(run: Run) -> None:
    at = page("explore", run)
    assert f"{MOST} of {N_CELLS} cells are drawn, every label among them" in said(at)
    assert "tables, scores and exports take all" in said(at)
    assert "it takes the drawn ones alone" in said(at)
    titles = [note["text"] for note in figure(at)["layout"]["annotations"]]
    in_titles = [int(title.split(", ")[1].split()[0]) for title in titles]
    assert [title.split(", ")[1].split(" ", 1)[1] for title in titles] == ["of 20 cells drawn", "of 30 cells drawn"]
    assert sum(in_titles) == MOST


def test_where_all_cells_are_drawn_nothing_is_said_of_a_sample(run: Run) -> None:
    at = page("explore", run, {"explore-view": "Query"})
    assert "drawn" not in said(at)
    assert len(points(at)) == N_QUERY


def test_every_label_is_in_the_legend(run: Run, cells: pd.DataFrame) -> None:
    at = page("explore", run)
    at.selectbox[0].set_value("Observed label").run()
    legend = {trace["name"] for trace in figure(at)["data"] if trace["showlegend"]}
    assert legend == {*cells["observed_label"].dropna(), "no label"}


def test_a_lasso_lists_the_drawn_cells_that_it_circles(
    run: Run, cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_DRAWN", 20)
    row = sorted(points(page("explore", run, {"explore-view": "Query"})))[-1]
    selected = {"selection": {"points": [{"customdata": row, "x": 0.0, "y": 0.0}]}}
    at = page("explore", run, {"explore-view": "Query", f"explore-map-{run.id}-Query": selected})
    assert "1 of 20 drawn cells" in said(at)
    assert list(at.dataframe[0].value["cell_id"]) == [cells["cell_id"][N_REFERENCE + row]]


def test_a_gene_is_counted_over_all_cells(run: Run) -> None:
    at = page("explore", run)
    at.selectbox[0].set_value("Gene expression").run()
    values = cached.expression(run, at.selectbox[1].value)
    assert f"It was counted in {(values > 0).sum()} of the {N_CELLS} cells" in said(at)
    assert figure(at)["layout"]["coloraxis"]["cmax"] == pytest.approx(values.max())


def test_a_number_is_coloured_over_the_range_of_all_cells(run: Run, cells: pd.DataFrame) -> None:
    left_out = next(row for row in range(N_CELLS) if row not in points(page("explore", run)))
    cells.loc[left_out, "n_counts"] = 5000.0
    cells.to_parquet(run.artefacts.cells)
    at = page("explore", run)
    at.selectbox[0].set_value("Counts per cell").run()
    assert left_out not in points(at)
    scale = figure(at)["layout"]["coloraxis"]
    assert (scale["cmin"], scale["cmax"]) == (cells["n_counts"].min(), 5000.0)


def test_compare_scores_and_counts_all_cells(run: Run) -> None:
    at = page("compare", run)
    assert "Scored, of 30 query cells" in [metric.label for metric in at.metric]
    table = cached.confusion(run, side="query", normalize="observed")
    assert table["n_cells"].sum() == evaluate.metrics(cached.cells(run))["query"]["n_scored"] + 3  # 3 plasma cells
    assert next(shown.value for shown in at.dataframe if "support" in shown.value)["support"].sum() == 24


def test_all_cells_of_a_tile_are_on_the_map_and_the_others_are_a_sample(run: Run, cells: pd.DataFrame) -> None:
    clicked = {"selection": {"cell": [{"observed_label": "B cell", "predicted_label": "B cell"}]}}
    at = page("compare", run, {f"compare-matrix-{run.id}-query-observed": clicked})
    same = (cells["observed_label"] == "B cell") & (cells["predicted_label"] == "B cell")
    own = cells.index[(cells["side"] == "query") & same]
    others, *_, front = figure(at)["data"]
    n_grey = len(numbers(others["x"]))
    assert numbers(front["x"]) == pytest.approx(cells.loc[own, "scanvi_1"])
    counted = re.search(r"other cells \((\d+) of (\d+) drawn\)", others["name"])
    assert counted and int(counted[1]) == n_grey
    n_others = int(counted[2])
    assert 0 < n_grey < n_others <= N_CELLS - len(own)
    words = f"Drawn are all {len(own)} cells of this tile, a sample of its parents, {n_grey} of {n_others} others"
    assert words in said(at)
    assert len(at.dataframe[0].value) == len(own)


def test_a_tile_of_very_many_cells_is_drawn_in_part_and_listed_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_DRAWN", 10)
    clicked = {"selection": {"cell": [{"observed_label": "B cell", "predicted_label": "B cell"}]}}
    at = page("compare", run, {f"compare-matrix-{run.id}-query-observed": clicked})
    n_own = len(at.dataframe[0].value)
    assert len(numbers(figure(at)["data"][-1]["x"])) == 5 < n_own
    assert f"Drawn are 5 of the {n_own} cells of this tile" in said(at)


def test_csv_is_made_when_asked_for_and_holds_all_cells(
    run: Run, cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: dict[str, Any] = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, **_: offered.update({label: data}))
    page("export", run)
    make = offered[f"Download {N_QUERY} predictions as CSV"]
    assert callable(make), "a CSV that is made at each rerun"
    assert list(pd.read_csv(io.StringIO(make()))["cell_id"]) == list(cells["cell_id"][N_REFERENCE:])


def test_a_map_to_take_away_holds_all_cells(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Any] = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, **_: offered.update({label: data}))
    at = page("export", run)
    assert "maps hold all cells" in said(at)
    html = offered["Map by predicted label"]()
    assert all(f"cell{i}\\u003c" in html for i in range(N_CELLS))


def test_pages_leave_the_shared_table_as_it_is(run: Run) -> None:
    for name in ("explore", "compare", "export"):
        page(name, run)
    pd.testing.assert_frame_equal(cached.cells(run), read_cells(run.artefacts.cells))


def test_a_column_that_one_reader_adds_is_not_seen_by_others(run: Run) -> None:
    own = cached.cells(run)
    own["own"] = 1
    assert "own" not in cached.cells(run)


def test_the_table_is_not_copied_at_each_look(run: Run) -> None:
    first, second = (cached.cells(run)["confidence"].to_numpy() for _ in range(2))
    assert np.shares_memory(first, second)
