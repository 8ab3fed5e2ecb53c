"""A download arrives whole, once, and goes on where it broke off, whatever the server does."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labeltransfer.errors import DownloadError, InputError
from labeltransfer.storage import download as module
from labeltransfer.storage.download import DownloadCancelled, SourceError, download, part_path, part_size, part_version
from tests.support import ROOT
from tests.support.file_server import FileServer, serve
from tests.support.waiting import wait_for

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
N = len(CONTENT)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same rules, small numbers."""
    monkeypatch.setattr(module, "BACKOFF", 0.01)
    monkeypatch.setattr(module, "MIN_GAIN", 1_000)
    monkeypatch.setattr(module, "CHUNK", 10_000)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "data.h5ad"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as server:
        yield server


def assert_whole(target: Path, content: bytes = CONTENT) -> None:
    """The file is there, and nothing but it and its lock."""
    assert target.read_bytes() == content
    assert {p.name for p in target.parent.iterdir()} - {".data.h5ad.kept.json"} <= {target.name, f"{target.name}.lock"}


def fetch_half(server: FileServer, target: Path) -> int:
    """Break a download off in the middle; returns how much of it is there."""
    with pytest.raises(DownloadCancelled):
        download(server.url, target, cancelled=lambda: part_size(target) > N // 3)
    server.requests.clear()
    server.n_sent = 0
    assert not target.exists()
    return part_size(target)


def test_a_file_arrives_whole_and_reports_how_far_it_is(server: FileServer, target: Path) -> None:
    reported: list[tuple[int, int | None]] = []
    assert download(server.url, target, n_bytes=N, progress=lambda *step: reported.append(step)) == target
    assert_whole(target)
    assert [n for n, _ in reported] == sorted(n for n, _ in reported)
    assert reported[-1] == (N, N) and len(reported) > 5
    assert {total for _, total in reported} == {N}


def test_what_is_there_is_not_asked_for_again(server: FileServer, target: Path) -> None:
    download(server.url, target)
    server.requests.clear()
    download(server.url, target)
    assert server.requests == []


def test_a_cancelled_download_goes_on_where_it_stopped(server: FileServer, target: Path) -> None:
    n_kept = fetch_half(server, target)
    assert 0 < n_kept < N
    download(server.url, target)
    assert_whole(target)
    assert server.requests[0]["Range"] == f"bytes={n_kept}-"
    assert server.n_sent == N - n_kept


def test_the_validator_may_be_a_date_alone(target: Path) -> None:
    with serve(CONTENT, validators=("Last-Modified",)) as server:
        n_kept = fetch_half(server, target)
        download(server.url, target)
        assert_whole(target)
        assert server.n_sent == N - n_kept


def test_without_a_validator_it_starts_again_since_the_file_may_have_changed(target: Path) -> None:
    with serve(CONTENT, validators=()) as server:
        fetch_half(server, target)
        download(server.url, target)
        assert_whole(target)
        assert "Range" not in server.requests[0]


def test_a_file_that_changed_on_the_server_is_fetched_again(server: FileServer, target: Path) -> None:
    fetch_half(server, target)
    server.content = OTHER
    download(server.url, target)
    assert_whole(target, OTHER)


def test_a_changed_file_from_a_server_that_ignores_if_range_is_never_mixed(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_kept = fetch_half(server, target)
    server.content = OTHER
    monkeypatch.setattr(server, "_span", lambda h: (n_kept, N) if "Range" in h.headers else None)
    download(server.url, target)
    assert_whole(target, OTHER)


def test_a_part_from_another_address_is_not_continued(server: FileServer, target: Path) -> None:
    fetch_half(server, target)
    download(f"{server.url}/elsewhere", target)
    assert_whole(target)
    assert "Range" not in server.requests[0]


def test_a_server_that_ignores_range_costs_time_but_not_the_file(target: Path) -> None:
    with serve(CONTENT, ranges=False) as server:
        fetch_half(server, target)
        download(server.url, target)
        assert_whole(target)
        assert "Range" in server.requests[0] and server.n_sent == N


@pytest.mark.parametrize("claim", [f"bytes 0-{N - 1}/{N}", f"bytes 5-{N - 1}/{N}", "bytes */7", "nonsense"])
def test_a_wrong_content_range_is_noticed(server: FileServer, target: Path, claim: str) -> None:
    fetch_half(server, target)
    server.content_range = claim
    download(server.url, target)
    assert_whole(target)


def test_dropped_connections_are_resumed_without_fetching_a_byte_twice(target: Path) -> None:
    with serve(CONTENT, drop_after=[20_000] * 12) as server:
        download(server.url, target)
        assert_whole(target)
        assert len(server.requests) == 13 and server.n_sent == N


def test_a_connection_that_falls_silent_is_given_up_and_resumed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUTS", (1.0, 0.3))
    with serve(CONTENT, pause=threading.Event()) as server:
        assert server.pause is not None
        threading.Timer(0.5, server.pause.set).start()
        download(server.url, target)
        assert_whole(target)
        assert server.requests[1]["Range"] == f"bytes={N // 2}-"


def test_a_server_that_always_drops_is_given_up_and_what_came_is_kept(target: Path) -> None:
    with serve(CONTENT, drop_after=[50_000] + [0] * 50) as server:
        with pytest.raises(DownloadError, match="start it again to go on") as error:
            download(server.url, target)
        assert not isinstance(error.value, SourceError)
        assert len(server.requests) == 1 + module.N_RETRIES
    assert part_size(target) == 50_000 and not target.exists()


def test_a_server_that_neither_resumes_nor_finishes_is_given_up(target: Path) -> None:
    with serve(CONTENT, ranges=False, drop_after=[100_000] * 50) as server:
        with pytest.raises(DownloadError, match="ended after"):
            download(server.url, target)
        assert len(server.requests) == 1 + module.N_RETRIES
    assert not target.exists()


def test_a_length_announced_too_long_never_passes(target: Path) -> None:
    with serve(CONTENT, announced=N + 1_000) as server, pytest.raises(DownloadError, match="not be fetched whole"):
        download(server.url, target)
    assert not target.exists()


def test_a_length_announced_too_short_is_noticed_where_the_length_is_known(target: Path) -> None:
    with serve(CONTENT, announced=N - 1_000) as server, pytest.raises(SourceError, match="another file"):
        download(server.url, target, n_bytes=N)
    assert not target.exists() and part_size(target) == 0


def test_a_length_announced_too_short_is_left_to_the_check_otherwise(target: Path) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != CONTENT:
            raise InputError("cut off")

    with serve(CONTENT, announced=N - 1_000) as server, pytest.raises(InputError, match="cut off"):
        download(server.url, target, check=check)
    assert not target.exists() and not part_path(target).exists() and part_version(target) is None


@pytest.mark.parametrize("n_bytes", [None, N])
def test_a_body_without_a_length_arrives(target: Path, n_bytes: int | None) -> None:
    with serve(CONTENT, chunked=True) as server:
        download(server.url, target, n_bytes=n_bytes)
    assert_whole(target)


def test_a_body_without_a_length_that_is_too_short_never_passes(target: Path) -> None:
    with serve(CONTENT, chunked=True) as server, pytest.raises(DownloadError, match="not be fetched whole"):
        download(server.url, target, n_bytes=N + 1_000)
    assert not target.exists()


def test_a_body_that_never_ends_is_stopped_at_the_known_length(target: Path) -> None:
    with serve(CONTENT, chunked=True) as server, pytest.raises(DownloadError, match="more than"):
        download(server.url, target, n_bytes=N - 50_000)
    assert not target.exists()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_reported_at_once(target: Path, status: int) -> None:
    with serve(CONTENT, statuses=[status] * 9) as server:
        with pytest.raises(SourceError, match=str(status)):
            download(server.url, target)
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again_but_not_for_ever(target: Path, status: int) -> None:
    with serve(CONTENT, statuses=[status] * 3) as server:
        download(server.url, target)
        assert_whole(target)
        target.unlink()
        server.statuses = [status] * 99
        with pytest.raises(SourceError, match=str(status)):
            download(server.url, target)


def test_a_part_longer_than_the_file_starts_again(server: FileServer, target: Path) -> None:
    fetch_half(server, target)
    server.statuses = [416]
    download(server.url, target)
    assert_whole(target)


def test_a_web_page_in_place_of_the_file_is_noticed_at_once(target: Path) -> None:
    page = b"<!DOCTYPE html><title>Please sign in</title>" * 10_000
    with serve(page, content_type="text/html") as server, pytest.raises(SourceError, match=r"text/html.*sign-in"):
        download(server.url, target, starts_with=CONTENT[:8])
    assert not target.exists() and part_size(target) == 0


def test_another_encoding_is_refused(target: Path) -> None:
    with serve(CONTENT, encoding="gzip") as server, pytest.raises(SourceError, match="encoding"):
        download(server.url, target)


def test_without_a_network_it_gives_up_after_a_few_tries(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(CONTENT) as server:
        url = server.url
    tries: list[str] = []
    request = module._request_remaining
    monkeypatch.setattr(module, "_request_remaining", lambda *asked: tries.append(asked[1]) or request(*asked))
    with pytest.raises(SourceError, match="cannot be reached"):
        download(url, target)
    assert len(tries) == 1 + module.N_RETRIES_SILENT


@pytest.mark.parametrize("url", ["no address", "file:///etc/hostname", "http://"])
def test_an_address_that_is_none_is_reported(target: Path, url: str) -> None:
    with pytest.raises(SourceError, match="cannot be fetched"):
        download(url, target)


def test_too_little_room_is_reported_before_the_first_byte(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": N - 1})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DownloadError, match="free some space") as error:
        download(server.url, target)
    assert not isinstance(error.value, SourceError)  # another address would not help
    assert part_size(target) == 0


def test_a_disk_that_fills_up_keeps_what_came_and_goes_on_later(server: FileServer, target: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DownloadError, match=r"cannot be written.*free some space"):
            download(server.url, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    n_kept = part_size(target)
    assert 0 < n_kept <= 100_000 and not target.exists()
    server.n_sent = 0
    download(server.url, target)
    assert_whole(target)
    assert server.n_sent == N - n_kept


def test_cancel_ends_the_wait_for_the_next_try(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", 20)
    stop = threading.Event()
    monkeypatch.setattr(module.time, "sleep", lambda seconds: stop.set())  # it waits, and meanwhile it is cancelled
    with serve(CONTENT, statuses=[500] * 9) as server:
        with pytest.raises(DownloadCancelled):
            download(server.url, target, cancelled=stop.is_set)
        assert len(server.requests) == 1


def test_bytes_that_had_all_arrived_are_not_fetched_again_after_a_crash(server: FileServer, target: Path) -> None:
    def crash(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, target, check=crash)
    server.requests.clear()
    download(server.url, target)
    assert_whole(target)
    assert server.requests == []


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"url": 1}'])
def test_a_damaged_note_next_to_the_part_costs_time_but_not_the_file(
    server: FileServer, target: Path, note: bytes
) -> None:
    fetch_half(server, target)
    target.with_name(target.name + ".part.json").write_bytes(note)
    download(server.url, target)
    assert_whole(target)


def in_process(url: str, target: Path) -> subprocess.Popen[bytes]:
    code = "import sys, pathlib; from labeltransfer.storage.download import download; "
    code += "download(sys.argv[1], pathlib.Path(sys.argv[2]))"
    return subprocess.Popen([sys.executable, "-c", code, url, str(target)], cwd=ROOT)


def test_two_processes_at_once_fetch_it_once(target: Path) -> None:
    with serve(CONTENT, pause=threading.Event()) as server:
        first, second = in_process(server.url, target), in_process(server.url, target)
        wait_for(lambda: part_size(target) > 0)
        time.sleep(0.5)
        assert server.pause is not None
        server.pause.set()
        assert first.wait(20) == 0 and second.wait(20) == 0
        assert_whole(target)
        assert len(server.requests) == 1 and server.n_sent == N


def test_a_killed_process_leaves_a_part_that_the_next_one_goes_on_from(target: Path) -> None:
    with serve(CONTENT, pause=threading.Event()) as server:
        process = in_process(server.url, target)
        wait_for(lambda: part_size(target) == N // 2)
        process.kill()
        process.wait(20)
        assert not target.exists()
        assert server.pause is not None
        server.pause.set()
        server.requests.clear()
        download(server.url, target)
        assert_whole(target)
        assert server.requests[0]["Range"] == f"bytes={N // 2}-"
