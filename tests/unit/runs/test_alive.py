"""Workers that hang, are ended from outside or by SIGTERM, and what they started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labeltransfer.params import RunParams
from labeltransfer.processes import module_environment
from labeltransfer.runs.queue import dispatching, liveness
from labeltransfer.runs.queue.dispatcher import Dispatcher
from labeltransfer.runs.queue.liveness import cancel, end_deaf
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import LIFE, Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space.cleaning import delete_run
from labeltransfer.storage.known_process import KnownProcess, kill_session
from labeltransfer.storage.locks import lock_state
from tests.support.waiting import wait_for

PATIENT = "tests.support.patient_worker"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def no_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look after what the dispatcher does, one step after the other."""
    monkeypatch.setattr(liveness, "ensure_dispatcher", lambda store: None)


@pytest.fixture
def working(store: Store, params: RunParams) -> Iterator[tuple[Run, subprocess.Popen[bytes]]]:
    """A run in the last stage of a worker that waits there."""
    run = store.create(params)
    with (run.folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", PATIENT, str(run.folder)],
            stdout=log,
            stderr=log,
            env=module_environment(),
            start_new_session=True,
        )
    wait_for(lambda: run.status().stage == "evaluate")
    yield run, process
    process.kill()
    process.wait()


def old_sign(run: Run, seconds: float) -> None:
    """As after so many seconds without a sign of life."""
    run.write_status(replace(run.written_status(), heartbeat=time.time() - seconds))


def asked_to_stop(run: Run, seconds: float) -> None:
    """As if the run had been cancelled so many seconds ago."""
    cancel(run)
    os.utime(run.folder / "cancel", (time.time() - seconds,) * 2)


def test_a_stopped_worker_is_called_silent_and_a_cancel_ends_it_from_outside(
    store: Store, working: tuple[Run, subprocess.Popen[bytes]], no_dispatcher: None
) -> None:
    run, process = working
    assert observed_status(run).notice == ""
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    old_sign(run, 40)
    status = observed_status(run)
    assert status.state == "running" and status.notice.startswith("No sign of life for 40 s:")
    asked_to_stop(run, 1)
    assert not end_deaf(run) and process.poll() is None, "it has its grace"
    asked_to_stop(run, liveness.KILL_GRACE + 1)
    assert observed_status(run).notice.startswith("Cancelling: no sign of life for 4")
    assert end_deaf(run) and process.wait(timeout=30) == -signal.SIGKILL
    assert run.status().state == "cancelled"
    delete_run(store, run)
    assert not run.folder.exists()


def test_a_cancelled_run_whose_worker_was_killed_is_cancelled(
    working: tuple[Run, subprocess.Popen[bytes]], no_dispatcher: None
) -> None:
    run, process = working
    process.send_signal(signal.SIGSTOP)
    cancel(run)
    process.kill()
    process.wait()
    assert run.status().state == "cancelled"


def test_a_worker_that_computes_is_not_called_silent(
    working: tuple[Run, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, process = working
    process.send_signal(signal.SIGSTOP)  # so that it writes no sign of life of its own
    old_sign(run, 40)
    monkeypatch.setattr(KnownProcess, "activity", lambda self: "computes")
    assert observed_status(run).notice == ""


def test_the_dispatcher_ends_a_worker_that_hangs_and_its_children(
    store: Store, params: RunParams, no_dispatcher: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "KILL_GRACE", 0.0)
    code = (
        "import subprocess, sys, time; from pathlib import Path; from labeltransfer.runs.worker import work; "
        "work.carry_out = lambda run, *_: ("
        "(run.folder / 'child').write_text(str(subprocess.Popen(['sleep', '600']).pid)), time.sleep(600)); "
        "sys.exit(work.main())"
    )
    run = store.create(params)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)], env=module_environment(), start_new_session=True
    )
    child = psutil.Process(
        int(wait_for(lambda: (run.folder / "child").exists() and (run.folder / "child").read_text()))
    )
    process.send_signal(signal.SIGSTOP)
    cancel(run)
    dispatcher = Dispatcher(store)
    (store.root / "locks").mkdir(exist_ok=True)
    dispatcher.life_path.touch()
    wait_for(lambda: (dispatcher.round(), run.status().over)[1])
    assert run.status().state == "cancelled"
    assert process.wait(timeout=30) == -signal.SIGKILL
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_number_that_another_process_has_now_is_not_killed(
    store: Store, params: RunParams, no_dispatcher: None
) -> None:
    run = store.create(params)
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    own = KnownProcess.own()
    stranger = KnownProcess(other.pid, own.start, own.machine, own.host)
    assert stranger.activity() == "gone" and stranger.process() is None
    stranger.write(run.folder / "worker.json")
    with run.worker_lock():
        run.write_status(Status(state="running", created=time.time(), started=time.time(), heartbeat=time.time()))
        asked_to_stop(run, liveness.KILL_GRACE + 1)
        end_deaf(run)
    elsewhere = KnownProcess(other.pid, own.start, "another machine", "there")
    assert elsewhere.activity() == "unknown" and not elsewhere.kill()
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize(
    "content", ["", "null", "[]", '{"pid": "x"}', '{"pid": 1, "start": 0, "machine": "", "host": ""}']
)
def test_a_damaged_word_of_who_the_worker_is_names_nobody(store: Store, params: RunParams, content: str) -> None:
    run = store.create(params)
    (run.folder / "worker.json").write_text(content)
    assert run.worker_process() is None


def test_a_session_is_ended_with_what_is_left_of_it() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    leader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout
    left = psutil.Process(int(leader.stdout.readline()))
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert left.is_running()
    kill_session(leader.pid)
    wait_for(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)
    leader.wait()


def test_a_lock_that_may_not_be_read_is_unknown_and_a_silent_run_under_it_is_over(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(params)
    with run.worker_lock():
        run.write_status(Status(state="running", created=1.0, started=1.0, heartbeat=time.time()))
        assert lock_state(run.folder / "worker.lock") == "held"
    assert lock_state(run.folder / "worker.lock") == "free"

    opened = os.open

    def refused(path: Path, *settings: int) -> int:
        if str(path).endswith("worker.lock"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *settings)

    monkeypatch.setattr(os, "open", refused)
    assert lock_state(run.folder / "worker.lock") == "unknown"
    assert not run.has_worker()
    assert run.status().state == "running", "it has just given a sign of life"
    monkeypatch.undo()
    old_sign(run, 90)
    monkeypatch.setattr(os, "open", refused)
    status = run.status()
    assert status.state == "failed" and "cannot be seen" in status.error and "worker.lock" in status.error


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can be another user for a while")
def test_a_lock_of_another_user_is_unknown(tmp_path: Path) -> None:
    lock = Path(tempfile.gettempdir()) / f"lock-{tmp_path.name}-{os.getpid()}"
    lock.touch(mode=0o600)
    os.seteuid(65534)
    try:
        assert lock_state(lock) == "unknown"
    finally:
        os.seteuid(0)
        lock.unlink()


def test_a_dispatcher_that_is_stopped_is_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root / "queue").mkdir(parents=True)
    (store.root / "queue" / "a-run-that-keeps-it-busy").touch()
    (store.root / "runs" / "a-run-that-keeps-it-busy").mkdir(parents=True)
    (store.root / "runs" / "a-run-that-keeps-it-busy" / "params.json").write_text("{")
    lock, life = dispatching.dispatcher_files(store)
    monkeypatch.setattr(dispatching, "STARTING", 0.0)
    dispatching.ensure_dispatcher(store, PATIENT)
    first = wait_for(lambda: KnownProcess.read(life) if lock_state(lock) == "held" else None)
    process = first.process()
    assert process
    process.suspend()
    wait_for(lambda: first.activity() == "stopped")
    dispatching.ensure_dispatcher(store, PATIENT)
    assert first.activity() == "stopped", "it may be stopped for a moment alone"
    os.utime(life, (time.time() - 2 * LIFE,) * 2)
    dispatching.ensure_dispatcher(store, PATIENT)
    wait_for(lambda: first.activity() == "gone")
    second = wait_for(lambda: (known := KnownProcess.read(life)) and known != first and known)
    assert isinstance(second, KnownProcess)
    assert second.kill()
