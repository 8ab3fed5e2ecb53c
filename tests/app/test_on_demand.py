"""Tests on demand, the last section of Explore: hide a label, repeat under other seeds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.params import RunParams
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start import executors, related_runs
from labeltransfer.runs.worker import pipeline
from labeltransfer.storage import files
from labeltransfer.training_labels import hidden_cells
from pages.train_parts.settings_table import _rows
from tests.support import ROOT
from tests.support.pages import finished_run, said


@pytest.fixture
def run(lt_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A finished run of three labels whose files are there, with workers that never start."""
    monkeypatch.setattr(executors, "start", lambda run: None)
    found = finished_run()
    for name in ("r.h5ad", "q.h5ad"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    path = found.artefacts.cells
    cells = pd.read_parquet(path)
    kinds = pd.Series(["B cell", "T cell", "NK cell"] * 17, dtype="category")[: len(cells)]
    cells["observed_label"] = cells["predicted_label"] = kinds.to_numpy()
    cells.to_parquet(path)
    for stage in found.stage_keys():
        files.write_json(found.artefact(stage) / "stage.json", {"seconds": 60.0})
    yield found
    st.cache_data.clear()
    st.cache_resource.clear()


def related_run(params: RunParams, changed: dict[str, Any] | None = None, *, of: Run) -> Run:
    """A finished run whose table of cells is that of ``of``, with some columns changed."""
    store = default_store()
    made = store.create(params)
    cells = pd.read_parquet(of.artefacts.cells).assign(**(changed or {}))
    store.claim_stage(made, "prepare", of.stage_keys()["prepare"])
    store.claim_stage(made, "evaluate", made.id)
    with store.build_stage(made, "evaluate", made.id) as folder:
        cells.to_parquet(folder / "cells.parquet")
        files.write_json(folder / "metrics.json", {})
    made.write_status(Status(state="done"))
    return made


def explore(run: Run) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = run.id
    at.run()
    at.switch_page("pages/explore.py").run()
    assert not at.exception
    return at


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def buttons(at: AppTest) -> list[str]:
    return [button.label.replace("\\", "") for button in at.button]


def test_nothing_yet_offers_both_tests_with_their_cost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "reusable_stages", lambda store, params: ["prepare", "integrate", "embed_scvi"])
    at = explore(run)
    assert {"Hide B cell", "Run under seeds 1 and 2"} <= set(buttons(at))
    assert "About 2 min of work" in said(at)  # transfer and evaluate, a minute each
    assert "About 4 min of work" in said(at)  # the same twice
    assert "scVI's model is reused" in said(at)
    box = next(box for box in at.selectbox if box.label == "Label to hide")
    assert box.options[0] == "B cell (7 reference cells)"
    assert not at.error


def test_a_press_queues_a_run_that_hides_the_chosen_label_and_the_page_stays(run: Run) -> None:
    at = explore(run)
    next(box for box in at.selectbox if box.label == "Label to hide").set_value("NK cell").run()
    press(at, "Hide NK cell")
    made = [one for one in default_store().runs() if one.id != run.id]
    assert [(one.params.hidden_label, one.params.name) for one in made] == [("NK cell", "hidden: NK cell")]
    assert at.query_params["run"] == run.id
    assert "hidden: NK cell" in said(at)
    assert "queued" in said(at)
    assert {"Open hidden: NK cell", "Refresh"} <= set(buttons(at))
    assert "Hide NK cell" not in buttons(at)


def test_a_press_queues_both_seeds_once(run: Run) -> None:
    at = press(explore(run), "Run under seeds 1 and 2")
    made = [one for one in default_store().runs() if one.id != run.id]
    assert sorted(one.params.seed for one in made) == [1, 2]
    assert not [label for label in buttons(at) if label.startswith("Run under")]


def test_a_failed_test_says_why_and_is_offered_again(run: Run) -> None:
    made = default_store().create(related_runs.hiding_params(run.params, "B cell"))
    made.write_status(Status(state="failed", error="Out of memory."))
    at = explore(run)
    assert "Out of memory." in said(at)
    assert "Hide B cell" in buttons(at)


def test_a_finished_test_shows_what_absorbed_the_label_and_what_a_rule_catches(run: Run) -> None:
    cells = pd.read_parquet(run.artefacts.cells)
    own = hidden_cells(cells, "B cell")
    others = cells["predicted_label"].astype(str).mask(cells["predicted_label"] == "B cell", "T cell")
    changed = {
        "predicted_label": pd.Categorical(others),
        "held_out": ~own,
        "confidence": np.where(own, 0.2, 0.9).astype(np.float32),
        "distance_percentile": np.where(own, 99, 50).astype(np.float32),
    }
    made = related_run(related_runs.hiding_params(run.params, "B cell"), changed, of=run)
    at = explore(run)
    frames = [frame.value for frame in at.dataframe]
    absorbed = next(frame for frame in frames if {"predicted_label", "confidence"} <= set(frame))
    assert absorbed["predicted_label"].tolist() == ["T cell"]
    assert absorbed["n_cells"].tolist() == [7]
    rules = next(frame for frame in frames if "Rule" in frame)
    assert rules["Hidden cells rejected"].tolist() == ["100.0% of 7"] * 3
    assert rules["Other held-out cells lost"].tolist() == ["0.0% of 13"] * 3
    tested = next(frame for frame in frames if "both" in frame)
    assert tested[["label", "swallowed_by", "both"]].to_numpy().tolist() == [["B cell", "T cell", 1.0]]
    assert "Hide B cell" not in buttons(at)
    assert "hides B cell itself" in said(explore(made))


def test_finished_seeds_show_how_many_labels_change_and_where(run: Run) -> None:
    cells = pd.read_parquet(run.artefacts.cells)
    labels = cells["predicted_label"].astype(str).to_numpy().copy()
    query = np.flatnonzero(cells["side"] == "query")
    labels[query[:3]] = "another"
    related_run(related_runs.seeded_params(run.params, 1), {"predicted_label": pd.Categorical(labels)}, of=run)
    at = explore(run)
    shown = {metric.label: metric.value for metric in at.metric}
    assert shown["Labels that change under 2 seeds, of 30 query cells"] == "10.0%"
    assert "Run under seed 2" in buttons(at)
    found = next(frame.value for frame in at.dataframe if "share_changed" in frame.value)
    assert found["n_changed"].sum() == 3
    assert found["n_cells"].sum() == 30
    n_maps = len(at.get("plotly_chart"))
    next(toggle for toggle in at.toggle if toggle.label == "Show them on the map").set_value(True).run()
    assert not at.exception
    assert len(at.get("plotly_chart")) == n_maps + 1


def test_where_the_files_have_gone_nothing_is_offered_and_that_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.h5ad").unlink()
    at = explore(run)
    assert "Nothing can be trained from this run any more. r.h5ad cannot be read" in said(at)
    assert not [label for label in buttons(at) if label.startswith(("Hide ", "Run under"))]


def test_the_demo_run_says_that_its_files_are_not_there(lt_home: Path) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = "demo"
    at.run()
    at.switch_page("pages/explore.py").run()
    assert not at.exception
    assert "without its input files" in said(at)
    assert not [label for label in buttons(at) if label.startswith(("Hide ", "Run under"))]


def test_settings_of_a_run_say_none_where_no_label_is_hidden(small_params: RunParams) -> None:
    found = {title: value for _, title, value in _rows(small_params, "run")}
    assert found["Hidden label"] == "none"
    assert found["Gene-length table"] == str(small_params.prepare.gene_lengths)
    hiding = related_runs.hiding_params(small_params, "NK cell")
    assert {title: value for _, title, value in _rows(hiding, "run")}["Hidden label"] == "NK cell"
