"""When a waiting run is expected to start, by what finished runs of its kind took."""

import time
from pathlib import Path

import pytest

from labeltransfer.params import IntegrateParams, RunParams, run_params
from labeltransfer.runs.queue import devices as devices_module
from labeltransfer.runs.queue.devices import Device
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start.forecast import expected_starts
from labeltransfer.runs.worker.pipeline import stage_keys
from labeltransfer.runs.worker.stages import STAGES
from labeltransfer.storage import files
from pages.shared.words import about

SECONDS = 100.0
WHOLE = SECONDS * len(STAGES)


@pytest.fixture(autouse=True)
def one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "gpus", lambda: ())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    return asked(tmp_path, "a", n_bytes=1000)


def asked(folder: Path, pair: str, *, n_bytes: int, **settings: object) -> RunParams:
    """Settings of a run on two files of a size."""
    for side in ("r", "q"):
        (folder / f"{side}-{pair}.h5ad").write_bytes(bytes(n_bytes))
    sides = {"reference": {"path": f"{folder}/r-{pair}.h5ad"}, "query": {"path": f"{folder}/q-{pair}.h5ad"}}
    return run_params({**sides, **settings})


def done(store: Store, params: RunParams, seconds: float = SECONDS, *, made: bool = True) -> Run:
    """A finished run of which each stage took some seconds, under keys of its own or those that the settings have."""
    run, now = store.create(params), time.time()
    keys = stage_keys(params) if made else dict.fromkeys(STAGES, run.id[-6:])
    for stage, key in keys.items():
        store.claim_stage(run, stage, key)
        with store.build_stage(run, stage, key) as folder:
            files.write_json(folder / "stage.json", {"seconds": seconds})
    run.write_status(Status(state="done", created=now, started=now, finished=now))
    return run


def at_work(store: Store, params: RunParams, *, since: float, stage: str = "integrate") -> Run:
    """A run that has its counts and has been in a stage for some seconds."""
    run, now = store.create(params), time.time()
    run.write_status(Status(state="running", created=now, started=now - since, stage=stage, n_epochs=10, fraction=0.5))
    run.append_event("start", stage="prepare", reused=True)
    run.append_event("end", stage="prepare", seconds=0.0)
    (run.folder / "events.jsonl").open("a").write(f'{{"time": {now - since}, "event": "start", "stage": "{stage}"}}\n')
    return run


def starts(store: Store, *at_work: Run) -> list[float | None]:
    """Expected starts of what waits, in the order of the queue."""
    locks = [run.worker_lock() for run in at_work]
    for lock in locks:
        lock.acquire()
    line = waiting_runs(store)
    found = expected_starts(store.runs(), line)
    for lock in locks:
        lock.release()
    return [found.get(run.id) for run in line]


def test_a_run_starts_when_those_before_it_are_through(store: Store, params: RunParams) -> None:
    done(store, params, made=False)
    store.create(params), store.create(params)
    assert starts(store) == [0.0, WHOLE]
    busy = at_work(store, params, since=30)
    left = (len(STAGES) - 1) * SECONDS - 30
    assert starts(store, busy) == [pytest.approx(left, abs=2), pytest.approx(left + WHOLE, abs=2)]


def test_what_is_finished_already_takes_no_time(store: Store, params: RunParams) -> None:
    done(store, params)
    store.create(params), store.create(params)
    assert starts(store) == [0.0, 0.0]


def test_the_median_of_the_newest_runs_of_the_same_files_counts(store: Store, params: RunParams) -> None:
    for seconds in (900.0, 900.0, 1.0, 2.0, 3.0, 70.0, 80.0):
        done(store, params, seconds, made=False)
    store.create(params), store.create(params)
    assert starts(store) == [0.0, 3.0 * len(STAGES)]


@pytest.mark.parametrize(
    ("n_bytes", "settings", "known"),
    [
        (1500, {}, True),
        (1500, {"seed": 7, "name": "other"}, True),
        (3000, {}, False),
        (1500, {"integrate": {"max_epochs": 3}}, False),
        (1500, {"prepare": {"n_top_genes": 300}}, False),
        (1500, {"device": "cpu"}, False),
    ],
)
def test_other_files_tell_of_a_run_if_size_and_trainings_are_alike(
    store: Store, params: RunParams, tmp_path: Path, n_bytes: int, settings: dict[str, object], known: bool
) -> None:
    done(store, asked(tmp_path, "b", n_bytes=n_bytes, **settings), made=False)
    store.create(params), store.create(params)
    assert starts(store) == [0.0, WHOLE if known else None]


def test_where_nothing_is_known_nothing_is_said(store: Store, params: RunParams) -> None:
    store.create(params)
    assert starts(store, at_work(store, params, since=30)) == [None]


def test_a_training_longer_than_its_like_goes_by_its_own_pace(store: Store, params: RunParams) -> None:
    done(store, params, made=False)
    busy = at_work(store, params, since=500)
    for epoch in range(3):
        busy.append_event("epoch", stage="integrate", epoch=epoch, seconds=8.0)
    store.create(params)
    rest = (len(STAGES) - 2) * SECONDS
    assert starts(store, busy) == [pytest.approx(rest + 5 * 8.0, abs=2)]


def test_with_two_devices_the_sooner_one_takes_the_next_run(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices_module, "gpus", lambda: (Device("GPU 0", 0), Device("GPU 1", 1)))
    done(store, params, made=False)
    unlike = params.model_copy(update={"integrate": IntegrateParams(max_epochs=7)})
    busy = at_work(store, params, since=30), at_work(store, unlike, since=30)  # of the second nothing is known
    store.create(params), store.create(params)
    left = (len(STAGES) - 1) * SECONDS - 30
    assert starts(store, *busy) == [pytest.approx(left, abs=2), pytest.approx(left + WHOLE, abs=2)]
    assert starts(store, busy[0]) == [0.0, pytest.approx(left, abs=2)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a minute"),
        (100, "2 minutes"),
        (1390, "25 minutes"),
        (5000, "85 minutes"),
        (5600, "1.5 hours"),
        (7100, "2 hours"),
    ],
)
def test_an_expected_duration_is_rounded(seconds: float, words: str) -> None:
    assert about(seconds) == f"about {words}"
