"""Chosen cells come out of a remote file by ranges, exactly, at the cost of their own bytes; or not at all."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer import processes
from labeltransfer.data.catalogue import background, read_cost
from labeltransfer.data.catalogue import remote_table as table_module
from labeltransfer.data.catalogue.background import cancel_fetch, fetch_progress, start_fetch
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry
from labeltransfer.data.catalogue.fetch import fetch
from labeltransfer.data.catalogue.fetch_request import (
    FILE,
    TABLE,
    FetchRequest,
    cells,
    local_path,
    parse_request,
    target,
)
from labeltransfer.data.catalogue.remote import fetch_cells, fetch_table
from labeltransfer.data.catalogue.remote_table import read_source, read_table
from labeltransfer.data.prepare.sides import read_side
from labeltransfer.errors import DownloadError, SettingsError
from labeltransfer.formats.h5ad.h5ad_file import open_h5ad, read_obs, read_rows, read_var
from labeltransfer.params import SideParams
from labeltransfer.storage import download as download_module
from labeltransfer.storage import kept
from labeltransfer.storage.download import DownloadCancelled
from labeltransfer.storage.ranges import RangeFile
from tests.support.file_server import FileServer, serve
from tests.support.senis import few_obs, random_counts, senis_obs, write_h5ad, write_old_h5ad
from tests.support.waiting import wait_for

FACS = CATALOGUE["tms-facs"]
N_CELLS, N_GENES = 6_000, 1_000
ENTRY = replace(FACS, shape=(N_CELLS, N_GENES))
WANTED = {"tissue": ("Marrow",), "sex": ("female",)}
OBS, COUNTS = few_obs(N_CELLS), random_counts(few_obs(N_CELLS), N_GENES)
ROWS = np.flatnonzero((OBS["tissue"] == "Marrow") & (OBS["sex"] == "female"))


@pytest.fixture(autouse=True)
def closed(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here reaches out of this machine, no retry takes long, and gaps are as small as the files are."""
    monkeypatch.setattr(download_module, "BACKOFF", 0.01)
    monkeypatch.setattr(read_cost, "GAP", 20_000)
    monkeypatch.setenv("LABELTRANSFER_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "sparse": lambda path: write_h5ad(path, OBS, COUNTS),
    "compressed": lambda path: write_h5ad(path, OBS, COUNTS, compression="gzip"),
    "raw": lambda path: write_h5ad(path, OBS, COUNTS, raw=True),
    "dense": lambda path: write_h5ad(path, OBS, COUNTS.toarray()),
    "dense compressed": lambda path: write_h5ad(path, OBS, COUNTS.toarray(), compression="gzip"),
    "old": lambda path: write_old_h5ad(path, OBS, COUNTS),
    "old with raw": lambda path: write_old_h5ad(path, OBS, COUNTS, raw=True),
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same cells in each layout."""
    folder = tmp_path_factory.mktemp("layouts")
    return {name: write(folder / f"{name}.h5ad") for name, write in LAYOUTS.items()}


@pytest.fixture
def content(files: dict[str, Path]) -> bytes:
    return files["sparse"].read_bytes()


def mirror(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)


def left_in_downloads() -> list[str]:
    """What is there, but for locks and notes about what is there."""
    left = (path for path in target(ENTRY, TABLE).parent.iterdir() if path.suffix != ".lock")
    return sorted(path.name for path in left if not kept.belongs_to_a_file(path))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_cells_are_those_of_the_whole_file_and_cost_only_their_bytes(
    layout: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(files[layout].read_bytes(), keep_alive=True) as server:
        mirror(server, monkeypatch)
        table = read_table(fetch_table(ENTRY))
        n_table = server.n_sent
        path = fetch_cells(ENTRY, WANTED)
        n_cells = server.n_sent - n_table
    place = "raw" if "raw" in layout else "X"
    with open_h5ad(files[layout]) as whole, open_h5ad(path) as part:
        obs, var = read_obs(whole), read_var(whole, place)
        pd.testing.assert_frame_equal(table.obs, obs)
        pd.testing.assert_frame_equal(table.var, var)
        pd.testing.assert_frame_equal(read_obs(part), obs.iloc[ROWS])
        pd.testing.assert_frame_equal(read_var(part), var)
        expected, found = read_rows(whole, place, ROWS), read_rows(part, "X")
        assert found.shape == (len(ROWS), N_GENES) and found.nnz == expected.nnz == COUNTS[ROWS].nnz
        assert (found != expected).nnz == 0
    source = read_source(path)
    assert (table.n_received, source["n_received"]) == (n_table, n_cells), "bytes are counted as they were sent"
    assert source["n_bytes"] == files[layout].stat().st_size
    assert n_cells < (0.6 if "compressed" in layout else 0.35) * source["n_bytes"] and n_table < 0.2 * source["n_bytes"]
    mask = np.isin(np.arange(N_CELLS), ROWS)
    needed = table.needed_bytes(mask)
    assert abs(n_cells - needed) < (0.3 if "compressed" in layout else 0.1) * needed + table.cost.fixed, (
        "what it will cost is known beforehand"
    )


def test_what_was_fetched_is_an_input_like_any_other(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(content) as server:
        mirror(server, monkeypatch)
        path = fetch_cells(ENTRY, WANTED)
    params = SideParams(path=str(path), labels_key="cell_ontology_class", filters=WANTED)
    side = read_side(params, "query", normalise=False, length_table=None, report=lambda sentence: None)
    with open_h5ad(side.path) as part:
        assert (read_rows(part, side.place, side.rows) != COUNTS[ROWS]).nnz == 0


def test_a_second_call_asks_for_nothing(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(content) as server:
        mirror(server, monkeypatch)
        first = fetch_cells(ENTRY, WANTED)
        n_requests = len(server.requests)
        assert fetch_cells(ENTRY, {"sex": ["female"], "tissue": ["Marrow"], "age": []}) == first
        fetch_table(ENTRY)
        assert len(server.requests) == n_requests
        assert fetch_cells(ENTRY, {"tissue": ["Tongue"]}) != first


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"ranges": False}, "as a whole only"),
        ({"validators": ()}, "which version"),
        ({"content_range": "bytes 5-40/9"}, "other parts"),
        ({"content_range": "nonsense"}, "as a whole only"),
        ({"encoding": "gzip"}, "as a whole only"),
        ({"announced": 7}, "other parts"),
    ],
)
def test_a_server_whose_parts_cannot_be_trusted_leads_to_the_whole_file(
    fault: dict[str, object], reason: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(content, **fault) as server:
        mirror(server, monkeypatch)
        with pytest.raises(DownloadError, match=f"{reason}.*download the whole file"):
            fetch_table(ENTRY)
        assert left_in_downloads() == []
        if fault in ({"ranges": False}, {"validators": ()}):
            assert fetch(ENTRY).read_bytes() == content


def test_another_address_is_tried_where_one_sends_no_parts(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABELTRANSFER_MIRROR")
    with serve(content, ranges=False) as whole, serve(content) as parts:
        entry = replace(ENTRY, url=f"{whole.url}/{ENTRY.file_name}", mirror_urls=(f"{parts.url}/1",))
        table = read_table(fetch_table(entry))
        assert table.version.url == f"{parts.url}/1"


def test_a_file_that_changes_meanwhile_is_never_mixed(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_h5ad(tmp_path / "other.h5ad", OBS.iloc[::-1], COUNTS[::-1]).read_bytes()
    with serve(content) as server:
        mirror(server, monkeypatch)
        fetch_table(ENTRY)
        n_table = len(server.requests)

        def change(n_done: int, n_total: int | None) -> None:
            if len(server.requests) > n_table + 8:
                server.content = other

        with pytest.raises(DownloadError, match="changed"):
            fetch_cells(ENTRY, WANTED, progress=change)
        assert left_in_downloads() == [target(ENTRY, TABLE).name]
        # The table that is kept is of the former version: its row numbers mean other cells now.
        with open_h5ad(fetch_cells(ENTRY, WANTED)) as part:
            assert (read_rows(part, "X") != COUNTS[ROWS][::-1]).nnz == 0
        assert read_table(target(ENTRY, TABLE)).version.validator == server.tag


def test_a_change_that_keeps_its_tag_is_seen_by_its_length(content: bytes) -> None:
    with serve(content) as server:
        remote = RangeFile(server.url, "a")
        monkey = server.tag
        server.content = content + b"more"
        server.hashed = server.content, monkey
        remote.seek(len(content) // 2)
        with pytest.raises(DownloadError, match="changed"):
            remote.read(10)


def test_a_connection_that_breaks_is_tried_again_and_all_its_bytes_count(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(content, drop_after=[10**9] * 3 + [1_000, 0, 20_000], statuses=[0] * 8 + [503, 429]) as server:
        mirror(server, monkeypatch)
        path = fetch_cells(ENTRY, WANTED)
        assert read_source(path)["n_received"] == server.n_sent
    with open_h5ad(path) as part:
        assert (read_rows(part, "X") != COUNTS[ROWS]).nnz == 0


@pytest.mark.parametrize("n_good", [0, 12])
def test_a_server_that_goes_away_leaves_nothing_half(
    n_good: int, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(content, statuses=[0] * n_good + [503] * 999) as server:
        mirror(server, monkeypatch)
        with pytest.raises(DownloadError, match="503"):
            fetch_cells(ENTRY, WANTED)
    assert not target(ENTRY, cells(WANTED)).exists() and not [n for n in left_in_downloads() if n.startswith(".")]


def test_a_redirect_that_expires_is_followed_again(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(content, lease=0) as server:
        mirror(server, monkeypatch)

        def expire(n_done: int, n_total: int | None) -> None:
            server.lease = len(server.requests) // 14

        path = fetch_cells(ENTRY, WANTED, progress=expire)
        assert server.lease > 1
    with open_h5ad(path) as part:
        assert (read_rows(part, "X") != COUNTS[ROWS]).nnz == 0


def test_reading_can_be_stopped_and_begun_again(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(content) as server:
        mirror(server, monkeypatch)
        fetch_table(ENTRY)
        n_table, limit = server.n_sent, 400_000
        with pytest.raises(DownloadCancelled):
            fetch_cells(ENTRY, WANTED, cancelled=lambda: server.n_sent > n_table + limit)
        assert left_in_downloads() == [target(ENTRY, TABLE).name]
        fetch_cells(ENTRY, WANTED)


def test_a_full_disk_is_reported_and_leaves_nothing(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(adata: ad.AnnData, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with serve(content) as server:
        mirror(server, monkeypatch)
        fetch_table(ENTRY)
        monkeypatch.setattr(table_module, "write_h5ad", full)
        with pytest.raises(DownloadError, match=r"No space left on device.*free some space"):
            fetch_cells(ENTRY, WANTED)
    assert left_in_downloads() == [target(ENTRY, TABLE).name]


def test_progress_reports_what_came_of_about_how_much(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[int, int | None]] = []
    with serve(content) as server:
        mirror(server, monkeypatch)
        fetch_cells(ENTRY, WANTED, progress=lambda n_done, n_total: reported.append((n_done, n_total)))
        assert reported[0][1] is None and reported[-1][0] == server.n_sent
        assert [n for n, _ in reported] == sorted(n for n, _ in reported)
    assert reported[-1][0] == pytest.approx(reported[-1][1], rel=0.5)


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        ({"tissue": ["Moon"]}, "No cell has tissue = Moon"),
        ({"colour": ["red"]}, "no obs column 'colour'"),
        ({"tissue": ["Lung"], "sex": ["male"], "n_genes": ["101"]}, "No cell"),
    ],
)
def test_filters_that_fit_no_cell_are_reported(
    filters: dict[str, list[str]], complaint: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(content) as server:
        mirror(server, monkeypatch)
        with pytest.raises(SettingsError, match=complaint):
            fetch_cells(ENTRY, filters)


def by_gene(path: Path) -> None:
    write_h5ad(path, OBS, sp.csc_matrix(COUNTS))


def another_shape(path: Path) -> None:
    write_h5ad(path, OBS.iloc[:50], COUNTS[:50])


def without_sex(path: Path) -> None:
    write_h5ad(path, OBS.drop(columns="sex"), COUNTS)


def with_a_link(path: Path) -> None:
    by_row = LAYOUTS["sparse"](path)
    with h5py.File(by_row, "r+") as file:
        file["uns/x"] = h5py.ExternalLink("/etc/passwd", "/")


def with_too_much(path: Path) -> None:
    with h5py.File(LAYOUTS["sparse"](path), "r+") as file:
        file["obs"].create_dataset("huge", (10**12,), np.int8, chunks=(10**6,))


def with_too_much_in_x(path: Path) -> None:
    with h5py.File(LAYOUTS["sparse"](path), "r+") as file:
        file.create_dataset("layers/huge", (10**6, 10**6), np.float32, chunks=(10**3, 10**3))


def a_page(path: Path) -> None:
    path.write_text("<html>sign in</html>" * 5_000)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (by_gene, "stored by gene.*download the whole file"),
        (another_shape, "50 cells and 1,000 genes instead of 6,000 and 1,000"),
        (without_sex, "no column sex"),
        (with_a_link, "external link"),
        (with_too_much, "declares 1,000,000,000,000 bytes"),
        (with_too_much_in_x, "declares 4,000,000,000,000 bytes"),
        (a_page, "no h5ad"),
    ],
)
def test_what_is_not_the_file_or_not_safe_is_refused(
    make: Callable[[Path], None], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "odd.h5ad")
    with serve((tmp_path / "odd.h5ad").read_bytes()) as server:
        mirror(server, monkeypatch)
        with pytest.raises(DownloadError, match=complaint):
            fetch_table(ENTRY)
    assert left_in_downloads() == []


def test_any_read_gives_the_bytes_of_the_file() -> None:
    content = np.random.default_rng(0).bytes(3_333_333)
    rng = np.random.default_rng(1)
    with serve(content, keep_alive=True) as server:
        remote = RangeFile(server.url, "a")
        for _ in range(300):
            start = int(rng.integers(0, len(content)))
            n_bytes = int(rng.choice([1, 500, 5_000, 100_000, 2_000_000]))
            if rng.random() < 0.3:
                remote.will_read(int(rng.integers(0, 3_000_000)))
            remote.seek(start)
            assert remote.read(n_bytes) == content[start : start + n_bytes]
        assert remote.n_received == server.n_sent <= len(content), "no byte comes twice"
        assert remote.n_requests == len(server.requests)


def test_a_column_takes_few_requests_and_little_that_is_not_wanted() -> None:
    content = bytes(20_000_000)
    with serve(content, keep_alive=True) as server:
        remote = RangeFile(server.url, "a")
        for start in range(5_000_000, 15_000_000, 4_096):  # as texts are read
            remote.seek(start)
            remote.read(4_096)
        assert remote.n_requests < 25 and remote.n_received < 11_200_000


def test_requests_survive_the_way_to_their_process() -> None:
    for request in (FILE, TABLE, cells(WANTED), cells({"a": ["ü'\"; rm"], "b": []})):
        assert parse_request(request.argument()) == request
    assert cells({"b": ["2", "1"], "a": []}) == cells({"b": ["1", "2"]}) == FetchRequest("cells", (("b", ("1", "2")),))
    for wrong in ("", "[]", '["moon", []]', '["cells", [1]]', "null"):
        with pytest.raises(DownloadError, match="is no fetch request"):
            parse_request(wrong)
    assert background.main("tms-facs", "[]") == 2


@pytest.fixture(scope="session")
def facs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the real one's shape and schema, as processes of their own want it."""
    obs = senis_obs(FACS)
    path = tmp_path_factory.mktemp("senis") / "facs.h5ad"
    return write_h5ad(path, obs, random_counts(obs, FACS.shape[1], 0.001))


def test_a_process_fetches_while_pages_look_on_and_a_kill_leaves_nothing_half(
    facs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    popen = processes.subprocess.Popen
    monkeypatch.setattr(processes.subprocess, "Popen", lambda *a, **k: (p := popen(*a, **k), started.append(p.pid))[0])
    request = cells(FACS.tutorial_filters)
    with serve(facs_file.read_bytes(), keep_alive=True) as server:
        mirror(server, monkeypatch)
        start_fetch(FACS, TABLE)
        wait_for(lambda: fetch_progress(FACS, TABLE).state == "done")
        assert fetch_progress(FACS).state == "absent"

        server.pause = threading.Event()
        n_table = len(server.requests)
        start_fetch(FACS, request)
        wait_for(lambda: len(server.requests) > n_table)
        assert fetch_progress(FACS, request).active and not fetch_progress(FACS, TABLE).active
        os.kill(started[-1], signal.SIGKILL)
        wait_for(lambda: fetch_progress(FACS, request).state == "interrupted")
        assert fetch_progress(FACS, request).error.endswith("start it again.")
        assert [n for n in left_in_downloads() if "cells" in n and n.endswith(".h5ad")] == []

        start_fetch(FACS, request)
        wait_for(lambda: fetch_progress(FACS, request).state == "running")
        cancel_fetch(FACS, request)
        server.pause.set()
        wait_for(lambda: fetch_progress(FACS, request).state == "cancelled")

        server.pause = None
        start_fetch(FACS, request)
        wait_for(lambda: fetch_progress(FACS, request).state == "done")
        wait_for(lambda: not fetch_progress(FACS, request).active)
    kept = ad.read_h5ad(target(FACS, request))
    whole = ad.read_h5ad(facs_file)
    wanted = (whole.obs["tissue"] == "Marrow") & (whole.obs["sex"] == "female")
    assert (kept.X != whole[wanted].X).nnz == 0 and list(kept.obs_names) == list(whole.obs_names[wanted])


def test_a_process_that_gets_no_parts_leaves_its_reason(facs_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(facs_file.read_bytes(), ranges=False) as server:
        mirror(server, monkeypatch)
        start_fetch(FACS, TABLE)
        wait_for(lambda: not fetch_progress(FACS, TABLE).active)
    seen = fetch_progress(FACS, TABLE)
    assert seen.state == "failed" and "download the whole file" in seen.error


def test_an_entry_names_its_files() -> None:
    names = {target(entry, request).name for entry in CATALOGUE.values() for request in (FILE, TABLE, cells(WANTED))}
    assert len(names) == 3 * len(CATALOGUE)
    entry: CatalogueEntry = FACS
    assert target(entry, FILE) == local_path(entry)
