"""What Compare says by the Cell Ontology."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from test_pages_results import finished_run, page, pick_control, said

from labeltransfer.results.label_terms import BY_HAND, read_by_hand
from labeltransfer.runs.run import Run

# The hand-made run has B cells and T cells; here query cells have a coarser label, and a label has no term.
RENAMED = {"plasma cell": "lymphocyte", "T cell": "gd"}


def renamed(run: Run, names: dict[str, str]) -> Run:
    """A run whose labels have other names."""
    path = run.artefact("evaluate", "cells.parquet")
    cells = pd.read_parquet(path)
    for column in ("observed_label", "predicted_label", "second_label"):
        cells[column] = cells[column].cat.rename_categories(lambda label: names.get(label, label))
    cells.to_parquet(path)
    return run


@pytest.fixture(autouse=True)
def no_caches(lt_home: Path) -> Iterator[None]:
    """Every test has a home of its own, and no table of another's."""
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def run() -> Run:
    return renamed(finished_run(), RENAMED)


def shown(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def matrix_key(run: Run) -> str:
    return f"compare-matrix-{run.id}-query-observed-verdict"


def test_compare_scores_strictly_and_by_kinds(run: Run) -> None:
    at = page("compare", run)
    cells = pd.read_parquet(run.artefact("evaluate", "cells.parquet"))
    query = cells[(cells["side"] == "query") & cells["observed_label"].notna()]
    observed, called = query["observed_label"].astype(str), query["predicted_label"].astype(str)
    n_same, n_finer = int((observed == called).sum()), int(((observed == "lymphocyte") & (called == "B cell")).sum())
    assert n_finer == 3
    assert shown(at)[f"Strict: {n_same} of 24 query cells"] == f"{n_same / 24:.1%}"
    assert shown(at)[f"By kinds: {n_same + n_finer} of 27 query cells"] == f"{(n_same + n_finer) / 27:.1%}"
    assert "Of the **3** cells whose label differs from the observed one, **100.0%** (3)" in said(at)
    assert "Without a term, so without a verdict: gd" in said(at)


def test_a_click_on_the_matrix_by_verdict_opens_its_cells(run: Run) -> None:
    clicked = {"selection": {"cell": [{"observed_label": "lymphocyte", "predicted_label": "B cell"}]}}
    at = page("compare", run, {"compare-colour": "verdict", matrix_key(run): clicked})
    assert "3 query cells observed as lymphocyte, predicted as B cell" in said(at)
    assert "↓ more specific" in said(at)


def test_the_matrix_by_share_keeps_its_own_selection(run: Run) -> None:
    at = page("compare", run)
    assert "Marks:" not in said(at)
    pick_control(at, "Colour").set_value("verdict").run()
    assert not at.exception
    assert "Marks: = exact" in said(at)


def test_terms_are_set_by_hand_for_one_run_and_taken_back(run: Run) -> None:
    at = page("compare", run)
    assert at.selectbox("mend-label").value == "gd"  # what has no term comes first
    at.selectbox("mend-term-gd").set_value("CL:0000798").run()
    at.button("mend-set").click().run()
    assert not at.exception
    assert read_by_hand(run.folder) == ({"gd": "CL:0000798"}, 1)
    assert "Without a term" not in said(at)
    assert "3 of 3 labels have a term" in "".join(expander.label for expander in at.expander)
    at.button("mend-undo").click().run()
    assert read_by_hand(run.folder) == ({}, 0)
    assert "Without a term, so without a verdict: gd" in said(at)


def test_labels_are_compared_at_a_level_of_choice(lt_home: Path) -> None:
    run = renamed(finished_run(), {"plasma cell": "T cell", "T cell": "gamma-delta T cell"})
    cells = pd.read_parquet(run.artefact("evaluate", "cells.parquet"))
    query = cells[(cells["side"] == "query") & cells["observed_label"].notna()]
    n_same = int((query["observed_label"].astype(str) == query["predicted_label"].astype(str)).sum())
    at = page("compare", run)
    assert f"Strict: {n_same} of 24 query cells" in shown(at)  # the reference has no T cell, but a kind of it
    assert f"By kinds: {n_same} of 27 query cells" in shown(at)
    at.selectbox(f"compare-level-{run.id}").set_value("Families").run()
    assert f"Strict: {n_same} of 27 query cells" in shown(at)
    at.selectbox(f"compare-level-{run.id}").set_value("Terms of my choice").run()
    assert f"Strict: {n_same} of 24 query cells" in shown(at)  # none chosen yet
    at.multiselect(f"compare-level-terms-{run.id}").set_value(["CL:0000084"]).run()
    assert f"Strict: {n_same} of 27 query cells" in shown(at)
    assert not at.exception


def test_a_level_that_a_change_by_hand_takes_away_is_left_for_the_labels(lt_home: Path) -> None:
    run = renamed(finished_run(), {"plasma cell": "T cell", "T cell": "gamma-delta T cell"})
    at = page("compare", run)
    at.selectbox(f"compare-level-{run.id}").set_value("Families").run()
    at.selectbox("mend-label").set_value("T cell").run()
    at.selectbox("mend-term-T cell").set_value("").run()
    at.button("mend-set").click().run()
    assert not at.exception
    assert read_by_hand(run.folder)[0] == {"T cell": None}
    assert "no coarser level" in said(at)


def test_a_damaged_file_of_terms_is_said_and_the_rest_of_the_page_stays(run: Run) -> None:
    (run.folder / BY_HAND).write_text("{")
    at = page("compare", run)
    assert BY_HAND in at.error[0].value.replace("\\", "")
    assert "Scored, of 30 query cells" in shown(at)


def test_the_terms_of_the_demo_run_are_left_alone(lt_home: Path) -> None:
    at = page("compare", Run(Path(__file__).resolve().parents[1] / "labeltransfer" / "demo" / "runs" / "demo"))
    assert "The demo run is everybody's" in said(at)
    assert "mend-set" not in [button.key for button in at.button]


def test_no_level_is_offered_where_labels_have_nothing_in_common(run: Run) -> None:
    assert "no coarser level" in said(page("compare", run))
