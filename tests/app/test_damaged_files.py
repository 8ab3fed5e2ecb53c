"""Pages of a run whose files are damaged, or whose home cannot be used."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer import config
from labeltransfer.cli.main import main
from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import SHIPPED, Store, default_store
from labeltransfer.storage import files
from tests.support import ROOT
from tests.support.damages import CONTENTS, SHAPES, damages, spoil
from tests.support.pages import app, said


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def shown(lt_home: Path) -> Iterator[Run]:
    """The demo run as a run of this home."""
    shutil.copytree(SHIPPED, lt_home)
    (lt_home / "runs" / "demo").rename(lt_home / "runs" / "20260101-000000-000000aaaa")
    yield Store(lt_home).runs()[0]
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def params() -> RunParams:
    return run_params({"reference": {"path": "r.h5ad"}, "query": {"path": "q.h5ad"}})


def page(name: str, run: Run) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = run.id
    at.run()
    return at.switch_page(f"pages/{name}.py").run()


@pytest.mark.parametrize(
    ("stage", "name", "where"),
    [
        ("evaluate", "cells.parquet", "explore"),
        ("evaluate", "metrics.json", "compare"),
        ("prepare", "prepared.h5ad", "preprocess"),
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_pages_say_what_is_damaged_and_the_way_out(shown: Run, stage: str, name: str, where: str, sealed: bool) -> None:
    path = shown.artefact(stage, name)
    cut(path)
    if not sealed:
        (path.parent / checksums.FILE).unlink()
    at = page(where, shown)
    assert not at.exception
    assert any(name in error.value and "same settings from Train" in error.value for error in at.error)


def test_a_home_that_cannot_be_used_is_said_and_no_run_is_called_gone(
    shown: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    at = page("explore", shown)
    assert not at.exception
    assert any("cannot be written to (Read-only file system)" in error.value for error in at.error)
    assert not at.warning


def test_a_page_says_what_was_made_again(shown: Run) -> None:
    folder = shown.artefact("integrate")
    facts = files.read_json(folder / "stage.json") | {"made_anew": {"time": time.time(), "damaged": ["latent.npy"]}}
    files.write_json(folder / "stage.json", facts)
    at = page("train", shown)
    assert not at.exception
    assert any("was damaged on disk and made again" in text.value for text in at.markdown)


def test_the_runs_page_names_every_damaged_run_and_deletes_it(shown: Run, params: RunParams) -> None:
    store = default_store()
    bad = {}
    for about, file, how in damages():
        run = store.create(params)
        (run.folder / "stages.json").write_text("{}")
        run.write_status(Status(state="done", created=time.time()))
        spoil(run, file, how)
        bad[run.id] = file, about
    at = app("runs")
    assert not at.exception
    (table,) = at.dataframe
    states = table.value["State"].tolist()
    for run_id, state in zip([run.id for run in [*[shown], *store.runs()]], states, strict=True):
        assert run_id not in bad or state == f"damaged: {bad[run_id][0]}", bad[run_id][1]
    assert "done" in states


@pytest.mark.parametrize("file", ["params.json", "status.json", "stages.json", "events.jsonl"])
@pytest.mark.parametrize("where", ["train", "explore", "compare", "export", "preprocess", "data"])
def test_a_damaged_run_that_is_open_ends_no_page(shown: Run, file: str, where: str) -> None:
    (shown.folder / file).unlink(missing_ok=True)
    (shown.folder / file).mkdir()
    at = page(where, shown)
    assert not at.exception


def test_a_file_name_that_is_no_text_ends_no_page(
    no_caches: None, tmp_path: Path, demo_pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    for name in (b"caf\xe9.h5ad", b"two\nlines.h5ad"):
        shutil.copy(demo_pair / "query.h5ad", os.fsencode(folder) + b"/" + name)
    shutil.copy(demo_pair / "query.h5ad", folder / "good.h5ad")
    (folder / "loop.h5ad").symlink_to(folder / "loop.h5ad")
    monkeypatch.setenv("LABELTRANSFER_DATA_DIR", str(folder))
    config.reread()
    at = app()
    at.get("button_group")[0].set_value("folder").run()
    assert not at.exception
    box = next(box for box in at.selectbox if box.label == "File")
    assert box.options == ["good.h5ad"]
    assert "cafxe9.h5ad" in said(at) and "twonlines.h5ad" in said(at)  # written out, backslashes apart


def test_names_that_are_no_text_are_cleaned_like_any_other(
    no_caches: None, shown: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = Path(os.fsdecode(os.fsencode(shown.root / "stages") + b"/prepare-\xff"))
    strange.mkdir()
    at = AppTest.from_function(_plan)
    at.run()
    assert not at.exception
    assert r"prepare-\xff" in at.dataframe[0].value["Name"].tolist()
    assert main(["clean", "--dry-run"]) == 0
    assert r"prepare-\xff" in capsys.readouterr().out


def _plan() -> None:
    from pages.runs_parts.disk_space import cleaning_form

    cleaning_form()


@pytest.mark.parametrize("about", [*CONTENTS, *SHAPES, "a number for a path", "no such setting"])
def test_a_damaged_draft_ends_no_page(no_caches: None, lt_home: Path, about: str) -> None:
    path = lt_home / "drafts" / "0123456789abcdef.json"
    path.parent.mkdir(parents=True)
    if about in CONTENTS:
        path.write_bytes(CONTENTS[about])
    elif about in SHAPES:
        SHAPES[about](path)
    else:
        sides = {"reference": {"path": 5}} if "path" in about else {"reference": {"path": "a", "colour": "red"}}
        files.write_json(path, {"settings": {"query": {}} | sides, "notes": {}})
    at = app(draft=path.stem)
    assert not at.exception
    assert any("choose again" in toast.value for toast in at.toast)
