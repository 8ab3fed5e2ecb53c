"""What a run on a cluster shows, as a substitute of Ray's job API reports it."""

import shlex
import threading
import time

import pytest

from labeltransfer.config import variable
from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.params import RunParams
from labeltransfer.processes import PACKAGE_PARENT
from labeltransfer.runs.queue import on_cluster, ray_jobs
from labeltransfer.runs.queue.devices import device_turn, devices
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.queue.on_cluster import judge
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.queue.ray_jobs import Answer, RayCluster
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space.cleaning import delete_run
from labeltransfer.runs.start import executors
from labeltransfer.runs.worker import work
from tests.support.job_api import JobApi

PLACED = variable("placed")
NOW = 1_000_000.0


@pytest.fixture
def store(cluster_store: Store) -> Store:
    return cluster_store


def ask_anew() -> None:
    """Forget what the cluster said."""
    ray_jobs.ray_cluster.cache_clear()


QUEUED = Status(created=NOW - 500)
ALIVE = Status(state="running", stage="integrate", created=NOW - 500, heartbeat=NOW - 2)
MUTE = Status(state="running", stage="integrate", created=NOW - 500, heartbeat=NOW - 90)


@pytest.mark.parametrize(
    ("status", "answer", "state", "words"),
    [
        (QUEUED, Answer("pending", "Two are before it."), "queued", "Ray says: Two are before it."),
        (QUEUED, Answer("running"), "queued", "starting the worker"),
        (ALIVE, Answer("running"), "running", ""),
        (MUTE, Answer("running"), "running", "no sign of life for 90 s"),
        (ALIVE, Answer("silent", silent_for=900), "running", "does not answer, but the worker does"),
        (MUTE, Answer("silent", silent_for=5), "running", "does not answer, and there is no sign"),
        (MUTE, Answer("silent", silent_for=61), "failed", "Start the run again: finished stages are kept."),
        (QUEUED, Answer("silent", silent_for=61), "failed", "does not answer"),
        (ALIVE, Answer("unknown"), "running", "its worker goes on"),
        (MUTE, Answer("unknown"), "failed", "lost with it"),
        (QUEUED, Answer("unknown"), "failed", "lost with it"),
        (ALIVE, Answer("succeeded"), "failed", "ended without a word in stage integrate"),
        (ALIVE, Answer("stopped"), "failed", "(it was stopped)"),
        (
            MUTE,
            Answer("failed", "Job supervisor actor died: long story", "JOB_SUPERVISOR_ACTOR_DIED"),
            "failed",
            "lost the machine that the run was on in stage integrate",
        ),
        (
            QUEUED,
            Answer("failed", "failed to start within 900", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"),
            "failed",
            "RAY_JOB_START_TIMEOUT_SECONDS",
        ),
        (
            QUEUED,
            Answer(
                "failed",
                "Job entrypoint command failed with exit code 2, last available logs (truncated):\n"
                "2026-11-24 12:27:09 INFO job_manager.py:581 -- Runtime env is setting up.\n"
                "/bin/sh: 1: cannot create /lab/log.txt: Directory nonexistent\n"
                "Running entrypoint for job c: exec env\n",
                "JOB_ENTRYPOINT_COMMAND_ERROR",
            ),
            "failed",
            "It said: /bin/sh: 1: cannot create /lab/log.txt: Directory nonexistent. LABELTRANSFER_HOME and",
        ),
    ],
)
def test_what_is_known_becomes_a_state_and_words(status: Status, answer: Answer, state: str, words: str) -> None:
    found = judge(status, answer, now=NOW, submitted=NOW - 500, cancelled=False, silence="It does not answer")
    assert found.state == state
    assert words in (found.error if state == "failed" else found.notice)
    assert found.stage == status.stage


@pytest.mark.parametrize(
    ("status", "answer", "state"),
    [
        (QUEUED, Answer("pending"), "cancelled"),
        (ALIVE, Answer("running"), "running"),  # its worker says when it is
        (ALIVE, Answer("stopped"), "cancelled"),
        (MUTE, Answer("unknown"), "cancelled"),
        (ALIVE, Answer("silent"), "running"),
        (MUTE, Answer("silent"), "cancelled"),
    ],
)
def test_who_was_cancelled_is_not_called_failed(status: Status, answer: Answer, state: str) -> None:
    found = judge(status, answer, now=NOW, submitted=NOW - 500, cancelled=True, silence="It does not answer")
    assert found.state == state


def test_a_cluster_may_take_a_while_to_know_a_job() -> None:
    found = judge(QUEUED, Answer("unknown"), now=NOW, submitted=NOW - 5, cancelled=False, silence="")
    assert found.state == "queued"


def test_a_run_is_handed_over_with_what_it_takes(
    store: Store, api: JobApi, small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("LABELTRANSFER_DATA_DIR", "/lab/the data")
    monkeypatch.setenv("LABELTRANSFER_RAY_CPUS", "4")
    run = store.create(small_params)
    executors.start(run)
    ((method, path, token, body),) = api.requests
    assert (method, path, token) == ("POST", "/api/jobs/", "Bearer secret")
    assert body["submission_id"] == f"labeltransfer-{run.id}"
    assert (body["entrypoint_num_gpus"], body["entrypoint_num_cpus"]) == (1.0, 4.0)
    words = shlex.split(body["entrypoint"])
    assert words[:2] == ["exec", "env"]
    assert (
        words[-6:]
        == [
            *("python", "-m", "labeltransfer.runs.worker", str(run.folder)),
            *(">>", str(run.folder / "log.txt"), "2>&1"),
        ][-6:]
    )
    assert {
        "LABELTRANSFER_DATA_DIR=/lab/the data",
        f"LABELTRANSFER_HOME={store.root}",
        f"PYTHONPATH={PACKAGE_PARENT}",
        "OMP_NUM_THREADS=4",
        f"{PLACED}=gpu",
    } <= set(words)
    assert "secret" not in body["entrypoint"] and "secret" not in (run.folder / "job.json").read_text()
    assert observed_status(run).state == "queued" and "Two are before it." in observed_status(run).notice


@pytest.mark.parametrize("update", [{"last_stage": "prepare"}, {"device": "cpu"}])
def test_what_trains_on_no_gpu_takes_none(
    store: Store, api: JobApi, small_params: RunParams, update: dict[str, str]
) -> None:
    executors.start(store.create(small_params.model_copy(update=update)))
    body = api.requests[0][3]
    assert body["entrypoint_num_gpus"] == 0 and f"{PLACED}=cpu" in body["entrypoint"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LABELTRANSFER_EXECUTOR", "slurm", "neither local nor ray"),
        ("RAY_ADDRESS", "ray://head:10001", "such as http://head:8265"),
        ("RAY_ADDRESS", "", "such as http://head:8265"),
        ("RAY_ADDRESS", "http://127.0.0.1:9", "The cluster at http://127.0.0.1:9 does not answer: start it"),
        ("LABELTRANSFER_RAY_GPUS", "two", "set it to a number from 0 up"),
        ("LABELTRANSFER_RAY_CPUS", "nan", "set it to a number from 0 up"),
    ],
)
def test_a_run_that_cannot_be_handed_over_fails_at_once(
    store: Store, small_params: RunParams, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    run = store.create(small_params)
    with pytest.raises(LabelTransferError, match=words):
        executors.start(run)
    assert observed_status(run).state == "failed" and words in observed_status(run).error
    delete_run(store, run)


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (401, "Unauthorized", "set RAY_AUTH_TOKEN"),
        (
            500,
            "Traceback\nNo available agent to submit job, please try again later.",
            r"\(No available agent .*later.\)",
        ),
    ],
)
def test_a_cluster_that_refuses_a_run_says_why(
    store: Store, api: JobApi, small_params: RunParams, status: int, text: str, words: str
) -> None:
    api.status, api.text = status, text
    with pytest.raises(RunError, match=words):
        executors.start(store.create(small_params))


def test_however_many_look_the_cluster_is_asked_once(api: JobApi) -> None:
    api.latency = 0.05
    cluster = RayCluster(api.url)
    looks = [threading.Thread(target=cluster.ask, args=("a",)) for _ in range(20)]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert len(api.requests) == 1
    assert cluster.ask("b").state == "pending" and len(api.requests) == 2


@pytest.mark.parametrize(("status", "text"), [(500, "no"), (200, "<html>"), (200, "{}"), (200, '{"status": "NEW"}')])
def test_an_answer_that_is_none_is_silence_and_nobody_asks_again_at_once(api: JobApi, status: int, text: str) -> None:
    api.status, api.text = status, text
    cluster = RayCluster(api.url)
    assert [cluster.ask(job).state for job in "abc"] == ["silent"] * 3
    assert len(api.requests) == 1


def test_a_cluster_that_answers_again_is_silent_no_more(api: JobApi, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(ray_jobs.time, "monotonic", lambda: now)
    monkeypatch.setattr(ray_jobs, "PAUSE", 0.0)
    cluster = RayCluster(api.url)
    api.status = 500
    cluster.ask("a")
    now += 5
    assert cluster.ask("a").silent_for == 5
    api.status = 200
    assert cluster.ask("a") == Answer("pending", "Two are before it.")
    api.status = 500
    now += 5
    assert cluster.ask("b").silent_for == 0


def test_a_verdict_is_written_once_the_worker_has_been_silent_for_a_while(
    store: Store, api: JobApi, small_params: RunParams
) -> None:
    run = store.create(small_params)
    executors.start(run)
    api.job = {"status": "FAILED", "message": "killed", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"}
    run.write_status(Status(state="running", stage="integrate", heartbeat=time.time()))
    ask_anew()
    assert observed_status(run).state == "failed"
    assert run.written_status().state == "running", "its own last words may still be on their way"
    run.write_status(Status(state="running", stage="integrate", heartbeat=time.time() - 60))
    assert observed_status(run).state == "failed"
    assert run.written_status().state == "failed" and run.written_status().finished


def test_a_deaf_worker_is_stopped_after_a_while(
    store: Store, api: JobApi, small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(small_params)
    executors.start(run)
    run.write_status(Status(state="running", heartbeat=time.time()))
    api.job["status"] = "RUNNING"
    run.request_cancel()
    assert observed_status(run).state == "running"
    stop = f"/api/jobs/labeltransfer-{run.id}/stop"
    assert stop not in [path for _, path, *_ in api.requests]
    monkeypatch.setattr(on_cluster, "CANCEL_PATIENCE", 0.0)
    assert observed_status(run).state == "running"
    assert api.requests[-1][:2] == ("POST", stop)


def test_a_damaged_job_file_is_said(store: Store, small_params: RunParams) -> None:
    run = store.create(small_params)
    (run.folder / "job.json").write_text("{")
    assert observed_status(run).state == "failed" and "job.json of this run is damaged" in observed_status(run).error


def test_a_placed_worker_waits_for_no_device_and_nobody_waits_for_it(
    store: Store, api: JobApi, small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(small_params)
    executors.start(run)
    assert waiting_runs(store) == []
    monkeypatch.setenv(PLACED, "cpu")
    with store.lock(devices("cpu")[0].lock_name), device_turn(run, check=pytest.fail) as device:
        assert device.gpu is None


def test_a_worker_leaves_a_run_alone_that_is_over_or_was_deleted(
    store: Store, small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = store.create(small_params)
    over.write_status(Status(state="cancelled"))
    for folder in (over.folder, store.root / "runs" / "gone"):
        monkeypatch.setattr("sys.argv", ["worker", str(folder)])
        assert work.main() == 1
    assert over.written_status().state == "cancelled" and not Run(store.root / "runs" / "gone").folder.exists()
