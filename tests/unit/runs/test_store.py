"""The run directory: whole after any crash, and artefacts kept for as long as a run needs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records import run as run_module
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store, default_store, find_run
from labeltransfer.runs.space.cleaning import delete_run
from labeltransfer.storage import home as home_module
from labeltransfer.storage.files import write_atomic
from labeltransfer.storage.home import home


@pytest.fixture
def params() -> RunParams:
    return run_params({"reference": {"path": "r.h5ad"}, "query": {"path": "q.h5ad"}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def build(store: Store, run: Run, stage: str, key: str, content: str = "whole") -> None:
    if not store.claim_stage(run, stage, key):
        with store.build_stage(run, stage, key) as folder:
            (folder / "result.txt").write_text(content)


def holder(run: Run) -> subprocess.Popen[bytes]:
    """Start a process that holds the run's lock as a worker does."""
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run.folder / "worker.lock")], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"ready\n"
    return process


def test_a_new_run_is_queued_and_found_by_its_id(store: Store, params: RunParams) -> None:
    run = store.create(params)
    assert run.status().state == "queued"
    assert store.run(run.id).params == params


def test_runs_are_listed_newest_first(store: Store, params: RunParams) -> None:
    ids = [store.create(params).id for _ in range(5)]
    assert sorted(ids, reverse=True) == [run.id for run in store.runs()]
    assert [run.id for run in waiting_runs(store)] == sorted(ids)


@pytest.mark.parametrize(
    "run_id", ["", "..", "../../etc", "a/b", "20260101-000000-000abcd", "A B", "demo/..", "a" * 300]
)
def test_an_id_that_is_no_run_is_refused(store: Store, run_id: str) -> None:
    with pytest.raises(RunError, match="no such run"):
        store.run(run_id)


def test_a_run_whose_worker_was_killed_shows_as_failed(store: Store, params: RunParams) -> None:
    run = store.create(params)
    worker = holder(run)
    run.write_status(Status(state="running", stage="integrate", epoch=3, n_epochs=9))
    assert run.status().state == "running"
    worker.kill()
    worker.wait()
    assert run.status().state == "failed"
    assert "stage integrate" in run.status().error


def test_a_queued_run_whose_worker_never_came_shows_as_failed(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(params)
    assert run.status().state == "queued"
    monkeypatch.setattr(run_module, "STARTUP_GRACE", 0.0)
    assert run.status().state == "failed"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "running", "colour": 1}', "\x00\x01"])
def test_a_damaged_status_shows_as_failed_and_can_be_deleted(store: Store, params: RunParams, content: str) -> None:
    run = store.create(params)
    (run.folder / "status.json").write_text(content)
    assert run.status().state == "failed"
    assert "damaged" in run.status().error
    delete_run(store, run)
    assert store.runs() == []


def test_a_cut_last_event_is_passed_over(store: Store, params: RunParams) -> None:
    run = store.create(params)
    run.append_event("epoch", epoch=1)
    with (run.folder / "events.jsonl").open("a") as file:
        file.write('{"event": "epoch", "epo')
    assert [event["epoch"] for event in run.events("epoch")] == [1]


def test_an_artefact_appears_whole_or_not_at_all(store: Store, params: RunParams) -> None:
    run = store.create(params)
    store.claim_stage(run, "prepare", "k")
    with pytest.raises(ZeroDivisionError), store.build_stage(run, "prepare", "k") as folder:
        (folder / "result.txt").write_text("half")
        assert not store.has_stage("prepare", "k")
        raise ZeroDivisionError
    assert not store.has_stage("prepare", "k")
    with pytest.raises(RunError, match="no finished stage 'prepare'"):
        run.artefact("prepare", "result.txt")
    build(store, run, "prepare", "k")
    assert run.artefact("prepare", "result.txt").read_text() == "whole"


def test_who_comes_second_with_the_same_artefact_leaves_the_first(store: Store, params: RunParams) -> None:
    first, second = store.create(params), store.create(params)
    store.claim_stage(first, "prepare", "k")
    store.claim_stage(second, "prepare", "k")
    with store.build_stage(second, "prepare", "k") as folder:
        (folder / "result.txt").write_text("second")
        build(store, first, "prepare", "k", "first")
    assert second.artefact("prepare", "result.txt").read_text() == "first"


def test_deleting_a_run_keeps_what_another_one_needs(store: Store, params: RunParams) -> None:
    kept, gone = store.create(params), store.create(params)
    build(store, kept, "prepare", "shared")
    build(store, gone, "prepare", "shared")
    build(store, gone, "integrate", "alone")
    gone.write_status(Status(state="done"))
    delete_run(store, gone)
    assert store.has_stage("prepare", "shared")
    assert not store.has_stage("integrate", "alone")
    assert [run.id for run in store.runs()] == [kept.id]


def test_damaged_references_never_cost_an_artefact(store: Store, params: RunParams) -> None:
    damaged, gone = store.create(params), store.create(params)
    build(store, damaged, "prepare", "k")
    (damaged.folder / "stages.json").write_text("{")
    gone.write_status(Status(state="done"))
    delete_run(store, gone)
    assert store.has_stage("prepare", "k")


def test_a_run_at_work_cannot_be_deleted(store: Store, params: RunParams) -> None:
    run = store.create(params)
    with pytest.raises(RunError, match="cancel it"):
        delete_run(store, run)
    assert store.run(run.id) == run


def test_what_a_dead_worker_left_half_built_is_swept_away(store: Store, params: RunParams) -> None:
    dead, alive = store.create(params), store.create(params)
    for run in (dead, alive):
        (store.stages / f".prepare-k~{run.id}").mkdir(parents=True)
    dead.write_status(Status(state="failed"))
    store.collect_garbage()
    assert [folder.name for folder in store.stages.iterdir()] == [f".prepare-k~{alive.id}"]


def test_a_home_that_cannot_be_written_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(RunError, match="LABELTRANSFER_HOME"):
        home()


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, json.dumps({"state": "running"}))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(file, json.dumps({"state": "done"}))
    assert json.loads(file.read_text()) == {"state": "running"}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_the_default_store_is_in_the_home_folder(lt_home: Path, params: RunParams) -> None:
    run = default_store().create(params)
    assert run.folder.parent == lt_home / "runs"
    assert find_run(run.id) == run


def test_a_stage_is_not_begun_on_a_full_disk(store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(params)
    monkeypatch.setattr(home_module, "LEAST_ROOM", 2**63)
    with (
        pytest.raises(RunError, match=r"is full, with .* MB left: free some space"),
        store.build_stage(run, "prepare", "k"),
    ):
        raise AssertionError("begun all the same")
    run.write_status(Status(state="running", stage="integrate"))
    assert "free some space" in run.status().error  # the worker could not write why it ended


def test_what_has_not_changed_is_parsed_once_for_all_who_look(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(params)
    parsed: list[Path] = []
    monkeypatch.setattr(run_module, "read_json_content", lambda path: parsed.append(path) or params.model_dump())
    assert [found.params for found in (*store.runs(), *store.runs(), *store.runs())] == [params] * 3
    assert len(parsed) == 1
    run.write_status(Status(state="done", created=1.0))
    assert run.status().state == "done"
    run.write_status(Status(state="failed", created=1.0))
    assert run.status().state == "failed"  # replaced within the same tick of the clock, and seen
