"""Stages made in a second process next to the others: only where there is a core for it, and never left behind."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from labeltransfer.errors import RunCancelled, RunError
from labeltransfer.params import RunParams
from labeltransfer.processes import CORES, module_environment
from labeltransfer.runs.queue.devices import devices
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.pipeline import stage_keys
from labeltransfer.runs.worker.reporter import Reporter
from labeltransfer.runs.worker.side_process import SecondProcess
from labeltransfer.runs.worker.stages import STAGES
from tests.support.waiting import wait_for

IN_SECOND = [name for name, stage in STAGES.items() if stage.side_process]


def worker(run: Run, *, n_cores: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "labeltransfer.runs.worker", str(run.folder)]
    with (run.folder / "log.txt").open("ab") as log:
        environment = module_environment() | dict.fromkeys(CORES, str(n_cores))
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def second_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The second process of a worker, once it is there."""

    def look() -> list[psutil.Process]:
        return [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]

    return wait_for(look)[0]


def overlapped(run: Run) -> bool:
    """Whether the map of scVI's latent was still to be finished when scANVI's training began."""
    times = {(event["event"], event["stage"]): event["time"] for event in run.events() if event["event"] != "epoch"}
    return times["start", "transfer"] < times["end", "embed_scvi"]


def test_maps_made_during_the_training_are_those_made_after_it(
    store: Store, small_params: RunParams, finished_store: Path
) -> None:
    for stage in ("prepare", "integrate"):
        name = f"{stage}-{stage_keys(small_params)[stage]}"
        shutil.copytree(finished_store / "stages" / name, store.stages / name)
    maps = {}
    for n_cores in (2, 1):
        run = store.create(small_params)
        assert worker(run, n_cores=n_cores).wait() == 0, run.status().error
        assert overlapped(run) == (n_cores == 2)
        assert {e["stage"] for e in run.events("end")} == set(STAGES)
        folders = [run.artefact(stage) for stage in IN_SECOND]
        maps[n_cores] = [np.load(folder / "mde.npy") for folder in folders]
        assert all(store.has_stage(*folder.name.split("-")) for folder in folders)
        mapped = {e["stage"] for e in run.events("message") if e["text"].startswith("Mapping 615 cells")}
        assert mapped == set(IN_SECOND)
        for stage in IN_SECOND:  # the next run makes the maps, and what follows from them, anew
            store.stage_folder(stage, run.stage_keys()[stage]).rename(store.root / f"{stage}-{n_cores}")
    for during, after in zip(maps[2], maps[1], strict=True):
        np.testing.assert_array_equal(during, after)


def test_a_second_process_that_dies_is_said_in_words(store: Store, small_params: RunParams) -> None:
    run = store.create(small_params)
    process = worker(run, n_cores=2)
    second_of(process).kill()
    assert process.wait() == 1
    status = run.status()
    assert status.state == "failed" and "second process of the run ended without a word" in status.error
    assert not [folder for folder in store.stages.iterdir() if folder.name.startswith(".")]


def test_a_worker_that_is_killed_leaves_no_second_process(store: Store, small_params: RunParams) -> None:
    process = worker(store.create(small_params), n_cores=2)
    second = second_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    second.wait(timeout=30)


@pytest.fixture
def second(store: Store, small_params: RunParams) -> Iterator[tuple[Run, SecondProcess]]:
    run = store.create(small_params)
    process = SecondProcess(Job(run, small_params, Reporter(run), devices("cpu")[0]))
    yield run, process
    process.end()


def test_what_fails_or_is_cancelled_there_does_so_here(second: tuple[Run, SecondProcess], tmp_path: Path) -> None:
    run, process = second
    with pytest.raises(RunError, match="no finished stage 'integrate'"):
        process.make("embed_scvi", tmp_path, [])
    with pytest.raises(RuntimeError, match="KeyError: 'no such stage'"):
        process.make("no such stage", tmp_path, [])
    folder = run.root / "stages" / "integrate-x"
    folder.mkdir(parents=True)
    np.save(folder / "latent.npy", np.zeros((50, 4), np.float32))
    (run.folder / "stages.json").write_text('{"integrate": "x"}')
    run.request_cancel()
    with pytest.raises(RunCancelled):
        process.make("embed_scvi", tmp_path, [])
