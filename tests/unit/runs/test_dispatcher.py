"""The dispatcher: waiting runs get a worker in their order, once each, whatever is killed and when."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from labeltransfer.params import RunParams
from labeltransfer.runs.queue import devices as devices_module
from labeltransfer.runs.queue import dispatcher as module
from labeltransfer.runs.queue import dispatching
from labeltransfer.runs.queue.dispatcher import Dispatcher
from labeltransfer.runs.queue.dispatching import dispatcher_files, enqueue, ensure_dispatcher, revive
from labeltransfer.runs.queue.line import Line
from labeltransfer.runs.queue.liveness import cancel
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start import executors
from labeltransfer.storage.known_process import KnownProcess
from labeltransfer.storage.locks import is_held
from tests.support.waiting import wait_for

PATIENT = "tests.support.patient_worker"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home")
    yield store
    end_all(store)


def end_all(store: Store) -> None:
    """End what a test has started in a home of its own, the dispatcher first."""
    life = dispatcher_files(store)[1]
    known = KnownProcess.read(life) if is_held(dispatcher_files(store)[0]) else None
    if known and known.pid != KnownProcess.own().pid:
        known.kill()
    for worker in workers(store):
        with suppress(psutil.Error):
            worker.kill()


def workers(store: Store) -> list[psutil.Process]:
    found = []
    for run in store.runs():
        known = KnownProcess.read(run.folder / "worker.json")
        if known and (process := known.process()) and process.pid != KnownProcess.own().pid:
            found.append(process)
    return found


def queued(store: Store, params: RunParams, owner: str = "", *, at_once: bool = True, **settings: object) -> Run:
    """A run in the queue of a home without a dispatcher, whose worker ends at once or waits."""
    run = store.create(params.model_copy(update={"seed": random.randrange(10**6), **settings}), owner)
    if at_once:
        (run.folder / "go").touch()
    run.place_in_queue.parent.mkdir(exist_ok=True)
    run.place_in_queue.touch()
    return run


def dispatcher_of(store: Store) -> Dispatcher:
    dispatcher = Dispatcher(store, PATIENT)
    dispatcher.life_path.parent.mkdir(parents=True, exist_ok=True)
    dispatcher.life_path.touch()
    return dispatcher


def until(dispatcher: Dispatcher, *runs: Run, state: str = "done") -> None:
    """Let it work until runs are in a state."""

    def look() -> bool:
        dispatcher.round()
        return all(run.written_status().state == state for run in runs)

    wait_for(look, pause=0.02)


def in_order_of_start(runs: list[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.written_status().started)


def test_waiting_runs_are_served_in_turn_and_only_one_worker_waits(store: Store, params: RunParams) -> None:
    runs = [queued(store, params, owner) for owner in "aaabc"]
    order = waiting_runs(store)
    dispatcher = dispatcher_of(store)
    until(dispatcher, *runs)
    assert in_order_of_start(runs) == order and [run.owner for run in order] == list("abcaa")
    assert not any(run.in_queue for run in runs)
    made = [len(run.events("start")) for run in runs]
    assert made == [2] * 5, "each is carried out once"
    wait_for(lambda: not dispatcher.round() or not dispatcher.called)
    assert len(dispatcher._children) <= 1


def test_a_run_waits_in_the_queue_for_as_long_as_it_takes(store: Store, params: RunParams) -> None:
    run = queued(store, params)
    run.write_status(Status(created=time.time() - 10 * 86400))
    assert run.status().state == "queued" and waiting_runs(store) == [run]


def test_a_cancelled_run_is_over_at_once_and_never_begins(store: Store, params: RunParams) -> None:
    first, second, third = (queued(store, params) for _ in range(3))
    cancel(first)
    second.request_cancel()  # and the canceller was killed before it wrote the end
    assert first.written_status().state == "cancelled" and second.status().state == "cancelled"
    assert not first.in_queue and second.in_queue
    until(dispatcher_of(store), third)
    assert second.written_status().state == "cancelled" and not second.events()
    assert not second.in_queue


def test_a_run_in_a_terminal_keeps_its_turn(store: Store, params: RunParams) -> None:
    terminal = store.create(params)
    with terminal.worker_lock():
        terminal.write_status(Status(created=terminal.status().created, heartbeat=time.time()))
        later = queued(store, params)
        dispatcher = dispatcher_of(store)
        for _ in range(5):
            dispatcher.round()
        assert not dispatcher.called and later.status().state == "queued"
    until(dispatcher, later)


def test_a_worker_that_dies_before_it_begins_costs_no_run(store: Store, params: RunParams) -> None:
    run = queued(store, params)
    dispatcher = dispatcher_of(store)
    dispatcher.round()
    (called,) = dispatcher.called.values()
    called.process.kill()
    until(dispatcher, run)
    assert len(run.events("start")) == 2


def test_a_worker_that_never_begins_ends_its_run_in_words(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    run = queued(store, params)
    dispatcher = dispatcher_of(store)
    dispatcher.worker = "tests.support.no_such_worker"
    until(dispatcher, run, state="failed")
    assert "3 workers ended before they had begun" in run.status().error
    assert "no_such_worker" in run.status().error and not run.in_queue


def test_a_run_that_was_begun_is_never_begun_again(store: Store, params: RunParams) -> None:
    run = queued(store, params, at_once=False)
    dispatcher = dispatcher_of(store)
    until(dispatcher, run, state="running")
    run.place_in_queue.touch()  # as if its worker had been killed before it could remove it
    second = dispatcher_of(store)
    second._call(run, devices_module.devices())
    process = next(iter(second.called.values())).process
    assert process.wait(timeout=60) in (0, 1), "it stepped back"
    assert len(run.events("start")) == 2
    (called,) = dispatcher.called.values()
    called.process.kill()
    wait_for(lambda: dispatcher.round() and not dispatcher.called)
    assert run.status().state == "failed"
    wait_for(lambda: (dispatcher.round(), not run.in_queue)[1])


def test_damaged_and_deleted_runs_hold_up_nobody(store: Store, params: RunParams) -> None:
    damaged, gone, good = (queued(store, params) for _ in range(3))
    (damaged.folder / "params.json").write_text("{")
    for file in gone.folder.iterdir():
        file.unlink()
    gone.folder.rmdir()
    dispatcher = dispatcher_of(store)
    until(dispatcher, good)
    wait_for(lambda: (dispatcher.round(), damaged.status().state == "failed")[1])
    wait_for(lambda: (dispatcher.round(), not gone.in_queue)[1])


def test_memory_that_ran_out_is_named_when_the_kernel_kills(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([7, *[8] * 1000])
    monkeypatch.setattr(module, "_oom_kills", lambda: next(counted))
    run = queued(store, params, at_once=False)
    dispatcher = dispatcher_of(store)
    until(dispatcher, run, state="running")
    wait_for(lambda: run.status().stage == "evaluate")
    next(iter(dispatcher.called.values())).process.kill()
    until(dispatcher, run, state="failed")
    error = run.written_status().error
    assert "memory ran out in stage evaluate" in error and "max_query_cells" in error


def test_runs_outlive_a_dispatcher_that_is_killed_and_the_next_goes_on(store: Store, params: RunParams) -> None:
    first = queued(store, params, at_once=False)
    later = queued(store, params)
    ensure_dispatcher(store, PATIENT)
    wait_for(lambda: first.status().state == "running")
    life = dispatcher_files(store)[1]
    known = KnownProcess.read(life)
    assert known and known.kill(alone=True)
    wait_for(lambda: not is_held(dispatcher_files(store)[0]))
    (first.folder / "go").touch()
    wait_for(lambda: first.status().state == "done")
    assert later.status().state == "queued"
    dispatching._started.clear()
    revive(store, PATIENT)
    wait_for(lambda: later.status().state == "done")


def test_a_dispatcher_is_single_and_ends_when_there_is_nothing_to_do(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "WORKER", PATIENT)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    run = store.create(params)
    executors.start(run)
    before = wait_for(lambda: KnownProcess.read(dispatcher_files(store)[1]))
    Dispatcher(store, PATIENT).serve()
    assert KnownProcess.read(dispatcher_files(store)[1]) == before, "the second left at once"
    (run.folder / "go").touch()
    wait_for(lambda: run.status().state == "done")
    wait_for(lambda: not is_held(dispatcher_files(store)[0]))


def test_thousands_of_runs_are_read_once(store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [queued(store, params) for _ in range(20)]
    for _ in range(10):
        store.create(params).write_status(Status(state="done", created=1.0, started=1.0, finished=2.0))
    line = Line(store)
    assert len(line.look()) == 30
    read: list[str] = []
    status = Run.status
    monkeypatch.setattr(Run, "status", lambda self: read.append(self.id) or status(self))
    assert len(line.look()) == 30 and read == []
    waiting[3].place_in_queue.unlink()
    line.look()
    assert read == [waiting[3].id]


@pytest.mark.slow
def test_killed_again_and_again_no_run_is_lost_or_begun_twice(store: Store, params: RunParams) -> None:
    rng = random.Random(1)
    runs = [queued(store, params) for _ in range(8)]
    for run in runs:
        enqueue(run, PATIENT)
    for _ in range(8):
        time.sleep(rng.random() * 0.5)
        known = KnownProcess.read(dispatcher_files(store)[1])
        if known:
            known.kill(alone=True)
        dispatching._started.clear()
        revive(store, PATIENT)
    dispatching._started.clear()

    def over() -> bool:
        revive(store, PATIENT)
        return all(run.written_status().over for run in runs)

    wait_for(over, pause=0.2)
    assert [run.status().state for run in runs] == ["done"] * 8
    assert [len(run.events("start")) for run in runs] == [2] * 8
