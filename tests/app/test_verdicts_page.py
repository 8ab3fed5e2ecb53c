"""What Compare says by the Cell Ontology."""

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.term_overrides import BY_HAND, term_overrides
from tests.support import ROOT
from tests.support.pages import finished_run, page, said

DEMO = ROOT / "labeltransfer" / "data" / "demo" / "shipped" / "runs" / "demo"


pytestmark = pytest.mark.usefixtures("no_caches")


def renamed(names: dict[str, str]) -> Run:
    """The run of B cells and T cells, where three query cells are plasma cells, with other names for its labels."""
    run = finished_run()
    path = run.artefacts.cells
    cells = pd.read_parquet(path)
    for column in ("observed_label", "predicted_label", "second_label"):
        cells[column] = cells[column].cat.rename_categories(lambda label: names.get(label, label))
    cells.to_parquet(path)
    return run


@pytest.fixture
def run() -> Run:
    """Query cells of a coarser label than the reference has, and a label without a term."""
    return renamed({"plasma cell": "lymphocyte", "T cell": "gd"})


@pytest.fixture
def of_t_cells() -> Run:
    """Query cells that are T cells, where the reference has a kind of T cell; all query cells are called B cells."""
    return renamed({"plasma cell": "T cell", "T cell": "gamma-delta T cell"})


def shown(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def n_same(run: Run) -> int:
    """Query cells whose predicted label is the observed one."""
    cells = pd.read_parquet(run.artefacts.cells)
    query = cells[(cells["side"] == "query") & cells["observed_label"].notna()]
    return int((query["observed_label"].astype(str) == query["predicted_label"].astype(str)).sum())


def test_scores_are_strict_and_with_finer_labels_right(run: Run) -> None:
    metrics, same = shown(page("compare", run)), n_same(run)
    assert metrics[f"The same: {same} of 24 cells"] == f"{same / 24:.1%}"
    assert metrics[f"Right, finer labels too: {same + 3} of 27 cells"] == f"{(same + 3) / 27:.1%}"
    assert metrics["Of 3 cells whose label differs"] == "100.0% finer"


def test_tiles_by_verdict_open_their_cells(run: Run) -> None:
    clicked = {"selection": {"cell": [{"observed_label": "lymphocyte", "predicted_label": "B cell"}]}}
    key = f"compare-matrix-{run.id}-query-observed-verdict"
    at = page("compare", run, {"compare-verdict": True, key: clicked})
    assert "3 query cells observed as lymphocyte, predicted as B cell" in said(at)


def test_a_term_is_set_by_hand_and_taken_back(run: Run) -> None:
    at = page("compare", run)
    assert at.selectbox("verdict-label").value == "gd"  # what has no term comes first
    assert at.button("verdict-keep").disabled
    at.selectbox("verdict-term-gd").set_value("CL:0000798").run()
    at.button("verdict-keep").click().run()
    assert not at.exception
    assert term_overrides(run.folder) == {"gd": "CL:0000798"}
    assert "3 labels, 0 of them without a term" in [expander.label for expander in at.expander]
    at.button("verdict-undo").click().run()
    assert term_overrides(run.folder) == {}
    assert "3 labels, 1 of them without a term" in [expander.label for expander in at.expander]


def test_labels_are_compared_at_a_level_of_choice(of_t_cells: Run) -> None:
    at, same = page("compare", of_t_cells), n_same(of_t_cells)
    level = f"verdict-level-{of_t_cells.id}"
    assert f"The same: {same} of 24 cells" in shown(at)  # the reference has no T cell, but a kind of it
    at.selectbox(level).set_value("Families").run()
    assert f"The same: {same} of 27 cells" in shown(at)
    at.selectbox(level).set_value("Terms of my choice").run()
    assert f"The same: {same} of 24 cells" in shown(at)  # none chosen yet
    at.multiselect(f"verdict-levels-{of_t_cells.id}").set_value(["CL:0000084"]).run()
    assert f"The same: {same} of 27 cells" in shown(at)
    assert not at.exception


def test_a_level_that_goes_with_a_term_set_by_hand_leaves_the_labels(of_t_cells: Run) -> None:
    at = page("compare", of_t_cells)
    at.selectbox(f"verdict-level-{of_t_cells.id}").set_value("Families").run()
    at.selectbox("verdict-label").set_value("T cell").run()
    at.selectbox("verdict-term-T cell").set_value("").run()
    at.button("verdict-keep").click().run()
    assert not at.exception
    assert term_overrides(of_t_cells.folder) == {"T cell": ""}
    assert f"The same: {n_same(of_t_cells)} of 24 cells" in shown(at)


def test_a_damaged_file_of_terms_is_said_and_the_rest_stays(run: Run) -> None:
    (run.folder / BY_HAND).write_text("{")
    at = page("compare", run)
    assert "delete it to go back to the terms that were found" in said(at)
    assert "Scores by label" in said(at)


def test_the_terms_of_the_demo_run_are_left_alone() -> None:
    at = page("compare", Run(DEMO))
    assert "The demo run comes with the app" in said(at)
    assert "verdict-keep" not in [button.key for button in at.button]
