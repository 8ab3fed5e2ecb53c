"""The catalogue's files are fetched, verified and kept once, and a page always knows how far that is."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labeltransfer import processes
from labeltransfer.data.catalogue import background as module
from labeltransfer.data.catalogue.background import cancel_fetch, discard, fetch_progress, start_fetch
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry, check_tutorial_subset
from labeltransfer.data.catalogue.fetch import fetch
from labeltransfer.data.catalogue.fetch_request import local_path
from labeltransfer.errors import DownloadError
from labeltransfer.formats.h5ad.h5ad_file import open_h5ad, read_obs
from labeltransfer.storage import download as download_module
from labeltransfer.storage.download import part_path, part_size
from tests.support.file_server import serve
from tests.support.senis import senis_obs, write_h5ad, write_old_h5ad, zeros
from tests.support.waiting import wait_for

FACS = CATALOGUE["tms-facs"]
DROPLET = CATALOGUE["tms-droplet"]


@pytest.fixture(autouse=True)
def closed(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here reaches out of this machine, and no retry takes long."""
    monkeypatch.setattr(download_module, "BACKOFF", 0.01)
    monkeypatch.setenv("LABELTRANSFER_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def facs_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that has the real one's shape and schema."""
    path = tmp_path_factory.mktemp("senis") / "facs.h5ad"
    return write_h5ad(path, senis_obs(FACS), zeros(senis_obs(FACS), FACS.shape[1])).read_bytes()


@pytest.fixture
def small() -> CatalogueEntry:
    return replace(FACS, shape=(40, 12))


@pytest.fixture
def small_bytes(tmp_path: Path) -> bytes:
    return write_h5ad(tmp_path / "small.h5ad", obs := senis_obs(FACS).iloc[:40], zeros(obs, 12)).read_bytes()


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """End what a test has left running."""
    yield
    for entry in CATALOGUE.values():
        cancel_fetch(entry)
        wait_for(lambda entry=entry: not fetch_progress(entry).active)


def test_the_entries_name_the_tutorials_files() -> None:
    assert FACS.shape == (110_824, 22_966) and FACS.full_length
    assert DROPLET.shape == (245_389, 20_138) and not DROPLET.full_length
    assert FACS.file_name == "tabula-muris-senis-facs-official-raw-obj.h5ad"
    assert len(FACS.tutorial_labels) == 17
    assert FACS.tutorial_shape == (sum(FACS.tutorial_labels.values()), FACS.shape[1]) == (4_200, 22_966)
    for entry in CATALOGUE.values():
        assert all(url.startswith("https://") for url in (entry.url, *entry.mirror_urls))


def test_a_file_is_fetched_from_the_labs_mirror_and_verified(
    small: CatalogueEntry, small_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(small_bytes) as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", f"{server.url}/")
        path = fetch(small)
        fetch(small)
        assert len(server.requests) == 1
    assert path == local_path(small) and path.read_bytes() == small_bytes


def test_a_file_in_the_old_layout_is_recognised(
    small: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obs = senis_obs(FACS).iloc[:40]
    old = write_old_h5ad(tmp_path / "old.h5ad", obs, zeros(obs, 12)).read_bytes()
    with serve(old) as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        path = fetch(small)
    with open_h5ad(path) as file:
        assert check_tutorial_subset(replace(small, tutorial_shape=(40, 12), tutorial_labels={}), read_obs(file)) == []


def test_the_next_address_is_tried_where_one_does_not_give_the_file(
    small: CatalogueEntry, small_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELTRANSFER_MIRROR")
    with serve(b"", statuses=[404] * 9) as gone, serve(b"<html>" * 99) as page, serve(small_bytes) as good:
        entry = replace(small, url=f"{gone.url}/a.h5ad", mirror_urls=(page.url, good.url))
        assert fetch(entry).read_bytes() == small_bytes


def test_where_no_address_gives_the_file_each_reason_and_a_way_out_are_reported(
    small: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELTRANSFER_MIRROR")
    with serve(b"", statuses=[404] * 9) as gone, serve(b"", statuses=[403] * 9) as closed:
        entry = replace(small, url=f"{gone.url}/a.h5ad", mirror_urls=(closed.url,))
        with pytest.raises(DownloadError, match=r"404.*by hand.*LABELTRANSFER_MIRROR.*403"):
            fetch(entry)


def test_what_was_begun_at_one_address_goes_on_there(
    small: CatalogueEntry, small_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELTRANSFER_MIRROR")
    n_first = 5_000
    with serve(b"", statuses=[404]) as first, serve(small_bytes, drop_after=[n_first] + [0] * 9) as second:
        entry = replace(small, url=f"{first.url}/a.h5ad", mirror_urls=(second.url,))
        with pytest.raises(DownloadError, match="start it again"):
            fetch(entry)
        second.drop_after.clear()
        fetch(entry)
        assert len(first.requests) == 1 and second.n_sent == len(small_bytes)


@pytest.mark.parametrize("damage", ["shape", "column", "cut", "text"])
def test_what_is_not_the_file_is_deleted_and_reported(
    small: CatalogueEntry, small_bytes: bytes, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    obs = senis_obs(FACS).iloc[:40]
    content, complaint = {
        "shape": (
            write_h5ad(tmp_path / "a.h5ad", obs, zeros(obs, 11)).read_bytes(),
            "40 cells and 11 genes instead of 40 and 12",
        ),
        "column": (
            write_h5ad(tmp_path / "b.h5ad", obs.drop(columns="sex"), zeros(obs, 12)).read_bytes(),
            "no column sex",
        ),
        "cut": (small_bytes[: len(small_bytes) - 2_000], "was deleted"),
        "text": (b"<html>sign in</html>", "instead of"),
    }[damage]
    with serve(content) as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        with pytest.raises(DownloadError, match=complaint):
            fetch(small)
    assert not local_path(small).exists() and not part_path(local_path(small)).exists()


def test_the_tutorials_subset_agrees_with_what_was_published() -> None:
    for entry in (FACS, DROPLET):
        assert check_tutorial_subset(entry, senis_obs(entry), n_genes=entry.shape[1]) == []


def test_spelling_alone_makes_no_difference() -> None:
    obs = senis_obs(FACS)
    renamed = {"CD4-positive, alpha-beta T cell": "CD4-positive alpha-beta T cell", "late pro-B cell": "Late pro-B"}
    obs["cell_ontology_class"] = obs["cell_ontology_class"].cat.rename_categories(renamed)
    assert check_tutorial_subset(FACS, obs) == []


def test_every_difference_from_the_published_subset_is_reported() -> None:
    obs = senis_obs(FACS)
    obs["cell_ontology_class"] = obs["cell_ontology_class"].cat.rename_categories({"basophil": "mast cell"})
    obs = obs.iloc[1:]
    assert check_tutorial_subset(FACS, obs, n_genes=5) == [
        "The tutorial's filters leave 4,199 cells instead of 4,200.",
        "There are 5 genes instead of 22,966.",
        "Label CD4-positive, alpha-beta T cell has 106 cells instead of 107.",
        "Label basophil has 0 cells instead of 26.",
        "Label mast (26 cells) is not among the tutorial's.",
    ]


def test_before_anything_is_asked_for_nothing_is_there() -> None:
    assert fetch_progress(FACS) == module.FetchProgress("absent")


@pytest.mark.usefixtures("no_process_left")
def test_a_process_fetches_while_pages_look_on_and_resumes_after_a_kill(
    facs_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(facs_bytes, pause=threading.Event()) as server:
        assert server.pause is not None
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        started: list[int] = []
        popen = processes.subprocess.Popen
        monkeypatch.setattr(
            processes.subprocess, "Popen", lambda *a, **k: (p := popen(*a, **k), started.append(p.pid))[0]
        )
        start_fetch(FACS)
        assert fetch_progress(FACS).active
        start_fetch(FACS)  # a second viewer presses the button as well
        assert len(started) == 1
        half = len(facs_bytes) // 2
        wait_for(lambda: fetch_progress(FACS).n_done == half)
        seen = fetch_progress(FACS)
        assert (seen.state, seen.n_total) == ("running", len(facs_bytes))
        assert os.getsid(started[0]) == started[0]  # a session of its own: it outlives the app
        with pytest.raises(DownloadError, match="being fetched"):
            discard(FACS)

        os.kill(started[0], signal.SIGKILL)
        wait_for(lambda: fetch_progress(FACS).state == "interrupted")
        seen = fetch_progress(FACS)
        assert seen.n_done == half and "start it again" in seen.error and not local_path(FACS).exists()

        server.pause.set()
        start_fetch(FACS)
        wait_for(lambda: fetch_progress(FACS).state == "done")
        assert server.requests[-1]["Range"] == f"bytes={half}-"
        assert local_path(FACS).read_bytes() == facs_bytes
        wait_for(lambda: not list(local_path(FACS).parent.glob("*.fetch.json")))
    discard(FACS)
    assert fetch_progress(FACS).state == "absent"


@pytest.mark.usefixtures("no_process_left")
def test_a_process_can_be_cancelled_and_what_came_is_kept(facs_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(facs_bytes, pause=threading.Event()) as server:
        assert server.pause is not None
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        start_fetch(FACS)
        wait_for(lambda: fetch_progress(FACS).n_done > 0)
        cancel_fetch(FACS)
        server.pause.set()
        wait_for(lambda: fetch_progress(FACS).state == "cancelled")
        assert part_size(local_path(FACS)) > 0 and not local_path(FACS).exists()
        assert fetch_progress(FACS).error == ""


@pytest.mark.usefixtures("no_process_left")
def test_a_process_that_fails_leaves_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(b"", statuses=[403] * 9) as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        start_fetch(FACS)
        wait_for(lambda: not fetch_progress(FACS).active)
    seen = fetch_progress(FACS)
    assert seen.state == "failed" and "403" in seen.error and "by hand" in seen.error


def test_a_process_that_never_comes_to_life_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho this Python is broken\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    start_fetch(FACS)
    assert fetch_progress(FACS).state == "starting"
    monkeypatch.setattr(module, "STARTUP_GRACE", 0.5)
    wait_for(lambda: fetch_progress(FACS).state == "interrupted" and "broken" in fetch_progress(FACS).error)


def test_a_damaged_status_file_does_no_harm() -> None:
    local_path(FACS).parent.mkdir(parents=True)
    for content in ("", "{", "[]", "null", '{"state": 5}', '{"state": "starting", "time": "noon"}'):
        local_path(FACS).with_name(f"{FACS.file_name}.fetch.json").write_text(content)
        assert fetch_progress(FACS).state in ("absent", "interrupted")


def test_the_time_that_is_left_follows_from_the_speed() -> None:
    seen = module.FetchProgress("running", n_done=500, n_total=2_000, bytes_per_second=100.0)
    assert seen.remaining_seconds == 15
    assert replace(seen, n_total=None).remaining_seconds is None
    assert replace(seen, state="cancelled").remaining_seconds is None


def test_an_unknown_key_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main("mouse") == 2
    assert "tms-facs" in capsys.readouterr().err
