"""Pages of a run whose files are damaged, or whose home cannot be used."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED, Store
from labeltransfer.storage import files
from tests.support import ROOT


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
