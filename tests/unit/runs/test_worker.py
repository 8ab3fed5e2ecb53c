"""Runs under fire: killed, cancelled, without room, and many at once."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeltransfer.errors import InputError
from labeltransfer.params import RunParams
from labeltransfer.runs.output.deliver import deliver
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start import executors
from labeltransfer.runs.worker import reporter
from labeltransfer.runs.worker import work as work_module
from labeltransfer.runs.worker.out_of_memory import out_of_memory
from labeltransfer.runs.worker.pipeline import reusable_stages, stage_keys
from labeltransfer.runs.worker.stages import STAGES
from tests.support.forked_workers import ForkedWorkers, forked_workers
from tests.support.waiting import wait_for

WORKER = [sys.executable, "-m", "labeltransfer.runs.worker"]


def worker(run: Run, **settings: object) -> subprocess.Popen[bytes]:
    with (run.folder / "log.txt").open("ab") as log:
        return subprocess.Popen([*WORKER, str(run.folder)], stdout=log, stderr=log, **settings)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedWorkers]:
    """Starts workers at once, for tests that need many or long ones."""
    with forked_workers(tmp_path_factory.mktemp("workers")) as started:
        yield started


def half_built(store: Store) -> list[str]:
    return [folder.name for folder in store.stages.iterdir() if folder.name.startswith(".")]


@pytest.mark.slow
def test_killed_in_every_stage_a_run_fails_in_words_and_loses_nothing(
    store: Store, small_params: RunParams, workers: ForkedWorkers
) -> None:
    keys = stage_keys(small_params)
    finished: set[str] = set()

    def is_building(run: Run, stage: str) -> bool:
        return (store.stages / f".{stage}-{keys[stage]}~{run.id}").exists()

    for stage in STAGES:
        run = store.create(small_params)
        process = workers.start(run)
        wait_for(lambda stage=stage, run=run: is_building(run, stage))
        process.send_signal(signal.SIGKILL)
        process.wait()
        status = run.status()
        assert status.state == "failed"
        assert "ended without a word" in status.error
        assert not store.has_stage(stage, keys[stage]), f"half of {stage} was taken for whole"
        before, finished = finished, set(reusable_stages(store, small_params))
        assert before <= finished, "a finished stage was lost"

    run = store.create(small_params)
    assert workers.start(run).wait() == 0
    assert {event["stage"] for event in run.events("start") if event["reused"]} == finished
    assert {"prepare", "integrate", "transfer", "opinions"} <= finished
    assert half_built(store) == []


def test_cancel_stops_a_training_at_the_next_batch_and_keeps_what_is_finished(
    store: Store, small_params: RunParams, workers: ForkedWorkers
) -> None:
    endless = small_params.model_copy(
        update={"integrate": small_params.integrate.model_copy(update={"max_epochs": 2000})}
    )
    run = store.create(endless)
    process = workers.start(run)
    wait_for(lambda: bool(run.events("epoch")))
    run.request_cancel()
    n_epochs = len(run.events("epoch"))
    assert process.wait(timeout=120) == 130
    assert len(run.events("epoch")) <= n_epochs + 2  # the one at whose last batch it was asked, and one just written
    assert run.status().state == "cancelled"
    assert reusable_stages(store, endless) == ["prepare"]
    assert half_built(store) == []


def test_a_worker_that_does_not_listen_ends_itself(store: Store, prepare_only: RunParams) -> None:
    run = store.create(prepare_only)
    code = (
        "import sys, time; from labeltransfer.runs.worker import reporter, work; "
        "reporter.CANCEL_GRACE = 0.5; reporter.HEARTBEAT = 0.1; "
        "work.carry_out = lambda *_: time.sleep(60); sys.exit(work.main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run.folder)])
    wait_for(lambda: run.status().state == "running")
    run.request_cancel()
    assert process.wait(timeout=120) == 130
    assert run.status().state == "cancelled"


STOPPED = {
    "listens": "while True: reporter.check(); time.sleep(0.02)",
    "does not listen": "time.sleep(600)",
    "is ended by Lightning": "while not reporter.terminated: time.sleep(0.02)\n    raise SystemExit",
    "fails by its second process": "while not reporter.terminated: time.sleep(0.02)\n    raise RuntimeError('died')",
}


@pytest.mark.parametrize("how", STOPPED)
def test_sigterm_ends_a_worker_with_143_and_a_sentence(store: Store, prepare_only: RunParams, how: str) -> None:
    run = store.create(prepare_only)
    code = (
        "import sys, time\nfrom labeltransfer.runs.worker import reporter as module, work\nmodule.TERM_GRACE = 0.3\n"
        f"def carry_out(run, reporter, device):\n    {STOPPED[how]}\n"
        "work.carry_out = carry_out\nsys.exit(work.main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: run.status().state == "running")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert process.stderr and process.stderr.read().strip() == reporter.TERMINATED
    assert run.written_status().state == "failed" and run.status().error == reporter.TERMINATED


def _with_cause(cause: Exception) -> Exception:
    error = InputError("The file is damaged.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(float)),  # type: ignore[attr-defined]
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"),
        _with_cause(MemoryError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_ran_out_is_named_with_the_way_out(
    store: Store, prepare_only: RunParams, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def carry_out(*_: object) -> None:
        raise error

    monkeypatch.setattr(work_module, "carry_out", carry_out)
    monkeypatch.setattr(work_module, "_use", lambda device: None)
    status = work_module.work(store.create(prepare_only))
    assert status.state == "failed" and "memory ran out" in status.error.lower()
    assert "max_query_cells" in status.error and "finished stages are kept" in status.error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.ENOSPC, "No space left on device")])
def test_other_errors_are_not_called_a_lack_of_memory(error: Exception) -> None:
    assert not out_of_memory(error)


@pytest.mark.slow
def test_ten_runs_at_once_take_turns_and_all_finish(store: Store, prepare_only: RunParams) -> None:
    runs = [store.create(prepare_only) for _ in range(10)]
    most_running = 0
    for run in runs:
        executors.start(run)

    def all_over() -> bool:
        nonlocal most_running
        states = [run.status().state for run in runs]
        most_running = max(most_running, states.count("running"))
        return not {"queued", "running"} & set(states)

    wait_for(all_over, seconds=300)
    assert [run.status().state for run in runs] == ["done"] * 10
    assert most_running == 1
    starts = [run.status().started for run in runs]
    assert starts == sorted(starts), "a run jumped the queue"
    made = [event for run in runs for event in run.events("start") if not event["reused"]]
    assert len(made) == 1, "the same thing was made more than once"


def test_a_run_without_room_on_the_disk_fails_in_words_and_the_next_one_succeeds(
    store: Store, prepare_only: RunParams
) -> None:
    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = store.create(prepare_only)
    worker(run, preexec_fn=quota).wait()
    status = run.status()
    assert status.state == "failed"
    assert "free some space" in status.error, status.error
    assert reusable_stages(store, prepare_only) == []
    assert half_built(store) == []

    again = store.create(prepare_only)
    worker(again).wait()
    assert again.status().state == "done"


def test_of_a_sampled_query_every_cell_is_labelled(
    store: Store, small_params: RunParams, tmp_path: Path, workers: ForkedWorkers
) -> None:
    sampled = small_params.prepare.model_copy(update={"max_query_cells": 100})
    run = store.create(small_params.model_copy(update={"prepare": sampled}))
    assert workers.start(run).wait() == 0, run.status().error
    said = [event["text"] for event in run.events("message")]
    assert any("Training on 100 of 315 query cells" in text for text in said), said
    assert "Training scVI on 400 cells × 300 genes" in said and "Labelling all 615 cells" in said
    cells = pd.read_parquet(run.artefacts.cells)
    assert len(cells) == 615 and cells["predicted_label"].notna().all() and cells["trained_on"].sum() == 400
    for stage in ("integrate", "transfer"):
        points = np.load(run.artefacts.latent(stage))
        assert points.shape == (615, 5) and np.isfinite(points).all()
    soft = pd.read_parquet(run.artefacts.soft)
    assert list(soft.index) == list(cells.index)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-4)
    (tmp_path / "out").mkdir()
    lines = list(deliver(run, tmp_path / "out"))
    assert lines[0].startswith("315 query cells labelled") and "trained on 100 of them" in lines[1]
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 315


def test_a_missing_input_file_is_said_in_words(store: Store, prepare_only: RunParams, tmp_path: Path) -> None:
    nowhere = prepare_only.reference.model_copy(update={"path": str(tmp_path / "gone.h5ad")})
    run = store.create(prepare_only.model_copy(update={"reference": nowhere}))
    assert worker(run).wait() == 1
    assert run.status().state == "failed"
    assert "gone.h5ad" in run.status().error and "choose the file again" in run.status().error
    assert "Traceback" not in run.log_tail()


def test_a_worker_outlives_who_started_it(store: Store, prepare_only: RunParams) -> None:
    run = store.create(prepare_only)
    code = (
        "import sys; from pathlib import Path; from labeltransfer.runs.start.executors import start; "
        "from labeltransfer.runs.records.run import Run; start(Run(Path(sys.argv[1])))"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(run.folder)], start_new_session=True)
    starter.wait()
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGKILL)  # nothing of the starter's session is left to be closed with it
    wait_for(lambda: run.status().over)
    assert run.status().state == "done"


def test_waiting_costs_no_device_and_can_be_cancelled(store: Store, prepare_only: RunParams) -> None:
    from labeltransfer.runs.queue.devices import devices

    locks = [store.lock(device.lock_name) for device in devices()]
    for lock in locks:
        lock.acquire()
    run = store.create(prepare_only)
    process = worker(run)
    wait_for(run.has_worker)
    assert run.status().state == "queued"
    run.request_cancel()
    assert process.wait(timeout=120) == 130
    assert run.status().state == "cancelled"
    for lock in locks:
        lock.release()


def test_a_status_names_the_stage_and_the_device(store: Store, prepare_only: RunParams) -> None:
    seen: list[Status] = []
    from labeltransfer.runs.worker.work import work

    status = work(store.create(prepare_only), listener=seen.append)
    assert status.state == "done" and status.device
    assert {"queued", "running", "done"} <= {s.state for s in seen}
    assert "prepare" in {s.stage for s in seen}
