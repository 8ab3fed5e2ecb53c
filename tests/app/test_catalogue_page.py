"""A data set of the catalogue on the Data page: its cells are chosen before they are fetched."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from labeltransfer.data.catalogue import background
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry
from labeltransfer.data.catalogue.fetch_request import FILE, TABLE, FetchRequest, cells, local_path, target
from labeltransfer.storage import download as download_module
from labeltransfer.storage import files
from tests.support.file_server import FileServer, serve
from tests.support.pages import app, labels, press, said
from tests.support.senis import few_obs, random_counts, write_h5ad

FIRST = "Choose cells first (about 300 kB)"
WHOLE = "Download all 2.2 GB"
WANTED = {"tissue": ["Marrow"], "sex": ["female"]}
ENTRY = replace(CATALOGUE["tms-facs"], shape=(3_000, 500), tutorial_shape=None, tutorial_labels={})
OBS = few_obs(3_000)
N_WANTED = int(((OBS["tissue"] == "Marrow") & (OBS["sex"] == "female")).sum())


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_h5ad(tmp_path_factory.mktemp("page") / "a.h5ad", OBS, random_counts(OBS, 500)).read_bytes()


@pytest.fixture
def server(lt_home: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of a small data set; what its process would do is done at once."""
    monkeypatch.setattr(download_module, "BACKOFF", 0.01)
    monkeypatch.setitem(CATALOGUE, ENTRY.key, ENTRY)
    monkeypatch.setattr(background, "start_fetch", fetch_now)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(content, keep_alive=True) as running:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", running.url)
        yield running
    st.cache_data.clear()
    st.cache_resource.clear()


def fetch_now(entry: CatalogueEntry, request: FetchRequest = FILE) -> None:
    local_path(entry).parent.mkdir(exist_ok=True)
    background._fetch_and_report(entry, request)


def with_catalogue(*, query: bool = False) -> AppTest:
    at = app()
    for source in [w for w in at.get("segmented_control") if w.label == "Source"][: 2 if query else 1]:
        source.set_value("catalogue")
    return at.run()


def choose(at: AppTest, box: str, values: list[str]) -> AppTest:
    return next(m for m in at.multiselect if m.label == box).set_value(values).run()


def cells_used(at: AppTest) -> str:
    return next(m.value for m in at.metric if m.label == "Cells used")


def test_choosing_comes_first_and_the_whole_file_second(server: FileServer) -> None:
    at = with_catalogue()
    assert not at.exception
    offered = labels(at)
    assert offered.index(FIRST) < offered.index(WHOLE)
    assert not server.requests, "nothing is asked for before a person asks"


def test_filters_tell_cells_and_bytes_before_anything_is_fetched(server: FileServer) -> None:
    at = press(with_catalogue(), FIRST)
    assert not at.exception
    assert f"**{N_WANTED:,} of 3,000 cells**, 3 labels: about " in said(at)
    offer = next(label for label in labels(at) if label.startswith(f"Fetch {N_WANTED:,} cells (about "))
    assert labels(at).index(offer) < labels(at).index(WHOLE)
    n_asked = len(server.requests)
    choose(at, "Tissue", ["Lung", "Spleen"])
    wider = int((OBS["tissue"].isin(["Lung", "Spleen"]) & (OBS["sex"] == "female")).sum())
    assert f"**{wider:,} of 3,000 cells**" in said(at)
    choose(choose(at, "Tissue", []), "Sex", [])
    assert "That is most of the file" in said(at)
    assert not [label for label in labels(at) if label.startswith("Fetch ")], "without a filter it is the whole file"
    assert WHOLE in labels(at) and len(server.requests) == n_asked


def test_the_cells_become_the_file_of_the_side_and_what_was_saved_is_shown(server: FileServer) -> None:
    at = press(with_catalogue(), FIRST)
    press(at, next(label for label in labels(at) if label.startswith("Fetch ")))
    assert not at.exception
    assert cells_used(at).endswith(f" of {N_WANTED:,}")
    assert next(m for m in at.multiselect if m.label == "Tissue").value == ["Marrow"]
    assert "came instead of" in said(at) and "% less" in said(at)
    n_asked = len(server.requests)
    again = app(draft=at.query_params["draft"])
    assert cells_used(again) == cells_used(at) and len(server.requests) == n_asked

    press(again, "Fetch other cells")
    assert f"Use these {N_WANTED:,} cells" in labels(again), "what is here needs no second fetch"
    choose(again, "Tissue", ["Tongue"])
    press(again, next(label for label in labels(again) if label.startswith("Fetch ")))
    assert not again.exception
    n_tongue = int(((OBS["tissue"] == "Tongue") & (OBS["sex"] == "female")).sum())
    assert cells_used(again).endswith(f" of {n_tongue}")


def test_both_sides_can_take_cells_of_one_data_set(server: FileServer) -> None:
    at = with_catalogue(query=True)
    for box in [s for s in at.selectbox if s.label == "Data set"]:
        box.set_value(ENTRY.key)
    at.run()
    assert not at.exception
    press(at, FIRST)
    assert not at.exception
    assert sum(label.startswith("Fetch ") for label in labels(at)) == 2


def test_a_server_without_ranges_leads_to_the_whole_file(server: FileServer, content: bytes) -> None:
    server.ranges = False
    at = press(with_catalogue(), FIRST)
    assert not at.exception
    assert "as a whole only" in said(at) and "download the whole file" in said(at)
    press(at, WHOLE)
    assert not at.exception
    assert local_path(ENTRY).read_bytes() == content
    assert cells_used(at).endswith(" of 3,000")


@pytest.mark.parametrize(
    ("asked", "status", "seen"),
    [
        (TABLE, {"n_done": 100_000, "n_total": None}, "Table of cells: 100 kB of about 300 kB"),
        (
            cells(WANTED),
            {"n_done": 1_000_000, "n_total": 4_000_000, "bytes_per_second": 100_000.0},
            "Cells: 1 MB of about 4 MB, about 30 s left",
        ),
        (FILE, {"bytes_per_second": 1e6}, "0 bytes of 2.2 GB"),
    ],
)
def test_what_is_running_shows_how_far_it_is_and_can_be_stopped(
    asked: FetchRequest, status: dict[str, object], seen: str, server: FileServer
) -> None:
    path = target(ENTRY, asked)
    path.parent.mkdir(parents=True)
    if asked != TABLE:
        fetch_now(ENTRY, TABLE)
    files.write_json(background._status_path(path), {"state": "running", "time": time.time(), **status})
    with FileLock(background._process_lock(path)):
        at = with_catalogue()
        assert not at.exception
        assert at.get("progress")[0].text.startswith(seen)
        assert "Leaving is safe" in said(at)
        assert not {FIRST, WHOLE} & set(labels(at))
        press(at, "Stop the download")
        assert background._cancel_path(path).exists()


def test_a_fetch_that_failed_shows_its_reason_and_can_be_tried_again(server: FileServer) -> None:
    at = press(with_catalogue(), FIRST)
    offer = next(label for label in labels(at) if label.startswith("Fetch "))
    server.statuses = [404] * 9
    press(at, offer)
    assert not at.exception
    assert "answers 404" in said(at)
    server.statuses = []
    press(at, offer)
    assert cells_used(at).endswith(f" of {N_WANTED:,}")


def test_the_tutorials_cells_are_compared_with_what_was_published(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, ENTRY.key, replace(ENTRY, tutorial_shape=(7, 500)))
    at = press(with_catalogue(), FIRST)
    press(at, next(label for label in labels(at) if label.startswith("Fetch ")))
    assert "instead of 7." in said(at)
