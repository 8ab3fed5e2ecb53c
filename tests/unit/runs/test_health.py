"""Whether a server is well, whatever state its home is in."""

import json
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from labeltransfer.cli.main import main
from labeltransfer.params import run_params
from labeltransfer.runs.health.health import can_work, health
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from pages.door.health_route import ADDRESS, health_route

PARAMS = run_params({side: {"path": f"{side}.h5ad"} for side in ("reference", "query")})


def started(store: Store, monkeypatch: pytest.MonkeyPatch, **status: object) -> Run:
    """A run in some state, whose worker holds its lock."""
    run = store.create(PARAMS)
    run.write_status(Status(**{"created": time.time(), **status}))
    monkeypatch.setattr(Run, "worker_lock_state", lambda run: "held")
    return run


def test_a_fresh_home_is_well(store: Store) -> None:
    found = health()
    assert found.ok and found.home == str(store.root) and 0 < found.free_bytes <= found.total_bytes
    assert (found.queue.waiting, found.queue.running) == (0, 0)


def test_the_queue_is_counted_and_the_longest_wait_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    started(store, monkeypatch, state="queued", created=now - 500, heartbeat=now)
    started(store, monkeypatch, state="queued", heartbeat=now)
    started(store, monkeypatch, state="running", heartbeat=now)
    started(store, monkeypatch, state="done")
    found = health()
    assert found.ok and (found.queue.waiting, found.queue.running) == (2, 1)
    assert 500 <= found.queue.longest_wait < 5_000


def test_a_silent_worker_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(store, monkeypatch, state="running", heartbeat=time.time() - 500)
    found = health()
    assert found.queue.silent == (run.id,) and run.id in found.problems[0]


def test_a_full_disk_is_a_problem(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeltransfer.storage.home.LEAST_ROOM", 10**18)
    assert not health().ok and not can_work()


def test_a_home_that_cannot_be_used_is_a_problem_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "file" / "home"))
    assert not can_work()
    assert main(["health"]) == 1
    assert "cannot be written to" in capsys.readouterr().out
    assert main(["health", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_command_says_it_in_words_and_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health"]) == 0
    text = capsys.readouterr().out
    assert str(store.root) in text and "0 running, 0 waiting" in text and "All is well." in text
    assert main(["health", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True and found["queue"]["waiting"] == 0


def test_the_address_for_monitors_reveals_nothing_but_ok(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = TestClient(Starlette(routes=[health_route()])).get(ADDRESS)
    assert (answer.status_code, answer.text) == (200, "ok")
    monkeypatch.setattr("labeltransfer.storage.home.LEAST_ROOM", 10**18)
    answer = TestClient(Starlette(routes=[health_route()])).get(ADDRESS)
    assert (answer.status_code, answer.text) == (503, "not ok")


def test_the_disk_is_not_looked_at_at_each_question(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr("pages.door.health_route.can_work", lambda: bool(looks.append(1)) or True)
    client = TestClient(Starlette(routes=[health_route()]))
    assert {client.get(ADDRESS).status_code for _ in range(20)} == {200} and len(looks) == 1
