"""Runs on a Ray cluster, on loopback: the whole job, a queue, cancelling, and everything killed once."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.runs.output.deliver import deliver
from labeltransfer.runs.queue import on_cluster, ray_jobs
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store, default_store
from labeltransfer.runs.space.cleaning import delete_run
from labeltransfer.runs.start import executors
from tests.support.ray_cluster import LoopbackCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SLOTS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    """A head and a node, of one CPU each."""
    cluster = LoopbackCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def store(lt_home: Path, cluster: LoopbackCluster, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LABELTRANSFER_EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("LABELTRANSFER_RAY_GPUS", "0")
    monkeypatch.setenv("LABELTRANSFER_RAY_CPUS", "1")
    monkeypatch.setattr(ray_jobs, "FRESH", 1.0)
    monkeypatch.setattr(ray_jobs, "PAUSE", 1.0)
    return default_store()


@pytest.fixture
def patient(store: Store, small_params: RunParams, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Run]]:
    """Start a run that costs nothing and works until ``let`` lets it end."""
    monkeypatch.setattr(executors, "WORKER", "tests.support.patient_worker")
    runs: list[Run] = []

    def begin() -> Run:
        runs.append(store.create(small_params.model_copy(update={"seed": len(runs)})))
        executors.start(runs[-1])
        return runs[-1]

    yield begin
    for run in store.runs():  # a test that failed leaves nobody at work
        run.request_cancel()
        observed_status(run)


def let(run: Run) -> None:
    (run.folder / "go").touch()


def states(runs: list[Run]) -> list[str]:
    return [observed_status(run).state for run in runs]


def at_work(run: Run) -> bool:
    """Whether the last stage of a patient run is being made."""
    return observed_status(run).stage == "evaluate"


def process_of(run: Run) -> psutil.Process:
    return next(p for p in psutil.process_iter(["cmdline"]) if str(run.folder) in (p.info["cmdline"] or []))


def test_the_whole_job_runs_on_a_cluster_and_its_labels_come_home(
    store: Store, small_params: RunParams, tmp_path: Path
) -> None:
    run = store.create(small_params)
    executors.start(run)
    wait_for(lambda: observed_status(run).over, seconds=180)
    assert observed_status(run).state == "done", observed_status(run).error + run.log_tail()
    assert observed_status(run).device and run.events("epoch"), "progress came through the run directory"
    (tmp_path / "out").mkdir()
    assert next(iter(deliver(run, tmp_path / "out"))).startswith("315 query cells labelled")
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["predicted_label"].notna().sum() == 315


def test_more_runs_than_places_wait_in_the_clusters_queue_and_all_finish(
    store: Store, patient: Callable[[], Run]
) -> None:
    runs = [patient() for _ in range(SLOTS + 2)]
    wait_for(lambda: sum(map(at_work, runs)) == SLOTS)
    waiting = [run for run in runs if observed_status(run).state == "queued"]
    assert len(waiting) == 2, "the cluster has a place for each of the others, whatever devices are locked here"
    assert all("Waiting for its turn on the cluster" in observed_status(run).notice for run in waiting)
    assert waiting_runs(store) == [], "runs of a cluster hold up nobody here"

    waiting[0].request_cancel()
    assert observed_status(waiting[0]).state == "cancelled", "a waiting run is cancelled at once"
    delete_run(store, waiting[0])
    assert waiting[0] not in store.runs()
    others = [run for run in runs if run != waiting[0]]
    for run in others:
        let(run)
    wait_for(lambda: states(others) == ["done"] * 3)
    assert not waiting[0].folder.exists(), "a deleted run came back"


def test_cancel_reaches_a_worker_on_the_cluster_listening_or_not(
    patient: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = listening, deaf = patient(), patient()
    wait_for(lambda: all(map(at_work, runs)))
    listening.request_cancel()
    wait_for(lambda: observed_status(listening).state == "cancelled")
    assert listening.written_status().state == "cancelled", "by its own worker"

    process_of(deaf).send_signal(signal.SIGSTOP)
    deaf.request_cancel()
    assert observed_status(deaf).state == "running"
    monkeypatch.setattr(on_cluster, "CANCEL_PATIENCE", 0.0)
    wait_for(lambda: observed_status(deaf).state == "cancelled")


def test_a_killed_worker_shows_as_failed_and_a_new_run_starts_behind_what_was_finished(
    store: Store, patient: Callable[[], Run]
) -> None:
    run = patient()
    wait_for(lambda: at_work(run))
    process_of(run).kill()
    wait_for(lambda: observed_status(run).over)
    assert observed_status(run).state == "failed"
    assert "ended without a word in stage evaluate (Job entrypoint command failed with exit code -9)" in (
        observed_status(run).error
    )
    again = patient()
    let(again)
    wait_for(lambda: observed_status(again).over)
    assert observed_status(again).state == "done"
    assert [event["reused"] for event in again.events("start")] == [True, False]


def test_a_killed_machine_fails_its_run_and_no_other(cluster: LoopbackCluster, patient: Callable[[], Run]) -> None:
    runs = [patient() for _ in range(SLOTS)]
    wait_for(lambda: all(map(at_work, runs)))
    cluster.kill(cluster.node)
    wait_for(lambda: "failed" in states(runs))
    (lost,) = [run for run in runs if observed_status(run).state == "failed"]
    assert "lost the machine" in observed_status(lost).error
    for run in runs:
        let(run)
    wait_for(lambda: sorted(states(runs)) == ["done", "failed"])


def test_a_killed_head_is_said_and_after_its_restart_runs_go_again(
    cluster: LoopbackCluster, store: Store, patient: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.kill(cluster.node)  # where a test before this one has not
    finished = patient()
    let(finished)
    wait_for(lambda: observed_status(finished).state == "done")
    working, waiting = patient(), patient()
    wait_for(lambda: at_work(working))
    process = process_of(working)

    cluster.kill(cluster.head)
    process.wait(timeout=30)  # Ray ends a job with the machine that carries it
    wait_for(lambda: "does not answer" in observed_status(working).notice)
    assert observed_status(working).state == "running" and observed_status(waiting).state == "queued"
    with pytest.raises(RunError, match=r"The cluster at http://127.0.0.1:[0-9]+ does not answer: start it"):
        patient()
    refused = store.runs()[0]
    assert observed_status(refused).state == "failed" and "does not answer" in observed_status(refused).error
    assert observed_status(finished).state == "done" and finished.artefact("evaluate", "made.txt").read_text()
    monkeypatch.setattr(on_cluster, "GONE", 0.0)
    monkeypatch.setattr(on_cluster, "LIFE", 0.0)
    assert states([working, waiting]) == ["failed", "failed"]
    assert working.written_status().state == "running", "what only this app believes is not written down"

    cluster.start_head()
    monkeypatch.setattr(on_cluster, "TAKING", 0.0)
    again = patient()
    let(again)
    wait_for(lambda: observed_status(again).over)
    assert observed_status(again).state == "done"
    wait_for(lambda: all("restarted" in observed_status(run).error for run in (working, waiting)))
    assert working.written_status().state == waiting.written_status().state == "failed"
    delete_run(store, working)
