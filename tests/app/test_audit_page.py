"""The label audit on Compare, as a visitor of a finished run uses it."""

from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.results.audit.audit import COLUMNS
from labeltransfer.runs.records import store
from labeltransfer.runs.records.audit_files import write_audit
from labeltransfer.runs.records.relabelling import layers
from labeltransfer.runs.records.run import Run
from tests.support.pages import finished_run, page, said

EMPTY = "No observed label is contradicted by its own cells"
EVIDENCE = "All of these cells get B cell from four methods."


pytestmark = pytest.mark.usefixtures("no_caches")


def audited(run: Run, *rows: list[object]) -> Run:
    """Give a finished run an audit with these rows; the cells of a row get its partner as audited label."""
    folder = run.artefact("evaluate")
    table = pd.DataFrame(rows, columns=COLUMNS)
    cells = pd.read_parquet(folder / "cells.parquet")
    labels = cells["observed_label"].astype(object).copy()
    for row in table.itertuples():
        labels[(cells["side"] == "query") & (cells["observed_label"] == row.observed_label)] = row.partner_label
    cells.assign(audited_label=pd.Categorical(labels), audit_score=0.0).to_parquet(folder / "cells.parquet")
    write_audit(folder, table)
    return run


@pytest.fixture
def run() -> Run:
    return audited(finished_run(), ["T cell", "mislabelled", "B cell", 0.91, 8, EVIDENCE])


def test_nothing_suspected_says_so_and_what_was_looked_at(lt_home: Path) -> None:
    at = page("compare", audited(finished_run()))
    assert any(EMPTY in str(message.value) for message in at.success)
    assert "four methods" in said(at)
    assert not [button for button in at.button if button.label == "Apply this relabelling"]


def test_a_run_older_than_the_audit_says_so(lt_home: Path) -> None:
    run = finished_run()
    (run.artefact("evaluate") / "audit.parquet").unlink(missing_ok=True)
    at = page("compare", run)
    assert "older than the label audit" in said(at)
    assert not at.error


def test_without_observed_labels_there_is_no_audit(lt_home: Path) -> None:
    at = page("compare", finished_run(labelled=False))
    assert "Label audit" not in said(at)


def test_the_table_ranks_suspicions_with_their_evidence(run: Run) -> None:
    at = page("compare", run)
    table = next(frame.value for frame in at.dataframe if "evidence" in frame.value)
    assert list(table["observed_label"]) == ["T cell"]
    assert list(table["evidence"]) == [EVIDENCE]


def test_a_click_shows_the_cells_on_the_map(run: Run) -> None:
    chosen = {f"audit-table-{run.id}": {"selection": {"rows": [0], "columns": [], "cells": []}}}
    at = page("compare", run, chosen)
    at.run()
    cells = pd.read_parquet(run.artefacts.cells)
    n_cells = int(((cells["side"] == "query") & (cells["observed_label"] == "T cell")).sum())
    assert f"{n_cells} query cells called T cell, suspected to be B cell" in said(at)
    assert EVIDENCE in said(at)
    assert len(at.get("plotly_chart")) == 1


def test_a_relabelling_is_a_layer_with_both_scores_that_can_be_removed(run: Run) -> None:
    before = run.artefacts.cells.read_bytes()
    at = page("compare", run)
    next(field for field in at.text_input if field.label == "Name of the layer").set_value("my view")
    next(button for button in at.button if button.label == "Apply this relabelling").click().run()
    assert not at.exception
    assert [layer.name for layer in layers(run.folder)] == ["my view"]
    scores = next(frame.value for frame in at.dataframe if "n_changed" in frame.value).set_index("labels")
    assert scores.loc["published", "accuracy"] < scores.loc["audited", "accuracy"] == 1.0
    assert run.artefacts.cells.read_bytes() == before
    next(button for button in at.button if button.label == "Remove this layer").click().run()
    assert layers(run.folder) == []
    assert "my view" not in said(at)


def test_a_layer_without_a_name_is_refused_in_words(run: Run) -> None:
    at = page("compare", run)
    next(field for field in at.text_input if field.label == "Name of the layer").set_value(" ")
    next(button for button in at.button if button.label == "Apply this relabelling").click().run()
    assert any("needs a name" in str(error.value) for error in at.error)
    assert layers(run.folder) == []


def test_the_run_of_the_installation_keeps_no_layer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SHIPPED", run.root)
    at = page("compare", run)
    assert EVIDENCE in list(next(frame.value for frame in at.dataframe if "evidence" in frame.value)["evidence"])
    assert store.SHIPPED_STAYS in said(at)
    assert not [button for button in at.button if button.label == "Apply this relabelling"]
