"""Which devices a run may use, with a substitute of the NVIDIA driver."""

import importlib.metadata
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pynvml
import pytest

from labeltransfer.errors import SettingsError
from labeltransfer.params import run_params
from labeltransfer.processes import CORES, WAITING, n_cores
from labeltransfer.runs.queue import devices as module
from labeltransfer.runs.queue.devices import Device, device_turn, devices, gpu_use, gpus, peak_memory, reset_peak_memory
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker import work as worker
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    gpus.cache_clear()
    yield
    gpus.cache_clear()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that tells of two GPUs; a handle is the GPU's number."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.15.0")
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda gpu: gpu)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "NVIDIA A100")
    use = type("Use", (), {"gpu": 83})()
    memory = type("Memory", (), {"used": 3 * 10**9, "total": 40 * 10**9})()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", lambda _: use)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)


def test_every_gpu_is_a_device_of_its_own(two_gpus: None) -> None:
    found = devices()
    assert [device.name for device in found] == ["NVIDIA A100, GPU 0", "NVIDIA A100, GPU 1"]
    assert len({device.lock_name for device in found}) == 2
    assert {device.accelerator for device in found} == {"gpu"}


def test_a_run_may_ask_for_the_cpu_where_there_are_gpus(two_gpus: None) -> None:
    (device,) = devices("cpu")
    assert device.accelerator == "cpu" and device.gpu is None


@pytest.mark.parametrize(("visible", "expected"), [("1", [1]), ("", []), ("0,1", [0, 1]), ("7", [])])
def test_a_schedulers_choice_of_gpus_holds(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [device.gpu for device in gpus()] == expected


def test_a_pytorch_without_cuda_trains_on_the_cpu(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.15.0+cpu")
    assert [device.gpu for device in devices()] == [None]


def test_without_a_driver_there_is_the_cpu_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    (device,) = devices()
    assert device.accelerator == "cpu" and "cores" in device.name


def test_use_of_a_gpu_is_shown_in_percent_and_bytes(two_gpus: None) -> None:
    assert gpu_use(gpus()[0]) == {
        "gpu_percent": 83.0,
        "gpu_memory_bytes": 3e9,
        "gpu_memory_total_bytes": 40e9,
    }
    assert gpu_use(module.Device("CPU")) == {}


def test_peak_memory_is_in_bytes() -> None:
    assert 10_000_000 < peak_memory() < 10**12


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux begins a peak anew")
def test_the_peak_of_memory_begins_anew() -> None:
    filled = np.ones(40_000_000)  # 320 MB
    high = peak_memory()
    del filled
    assert peak_memory() > high - 50_000_000
    assert reset_peak_memory()
    assert peak_memory() < high - 200_000_000


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight cores without a GPU."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(module, "gpus", lambda: ())


@pytest.mark.parametrize(("slots", "each"), [("", None), ("1", None), ("2", 4), ("3", 2), ("8", 1)])
def test_slots_share_the_cores_among_them(
    cores: None, monkeypatch: pytest.MonkeyPatch, slots: str, each: int | None
) -> None:
    monkeypatch.setenv("LABELTRANSFER_CPU_SLOTS", slots)
    found = devices()
    assert [device.n_cores for device in found] == [each] * int(slots or 1)
    assert len({device.lock_name for device in found}) == len(found)
    assert found[0].lock_name == "device-cpu", "the app and an older worker know the same lock"


@pytest.mark.parametrize("slots", ["0", "-1", "two", "1.5", "9", "²", "1" * 5000])
def test_slots_that_cannot_be_are_said_in_words(cores: None, monkeypatch: pytest.MonkeyPatch, slots: str) -> None:
    monkeypatch.setenv("LABELTRANSFER_CPU_SLOTS", slots)
    with pytest.raises(SettingsError, match=r"LABELTRANSFER_CPU_SLOTS .* from 1 to its 8 cores"):
        devices()


def test_a_worker_keeps_to_the_cores_of_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CORES, "CUDA_VISIBLE_DEVICES", *WAITING):
        monkeypatch.setenv(name, "")  # what the worker sets is taken back after the test
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    worker._use(Device("CPU", n_cores=3))
    assert n_cores() == 3 and os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert os.environ["OMP_NUM_THREADS"] == "1", "fewer were asked for"


class Crew:
    """Workers in threads, which hold a device for a moment each."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.started: list[tuple[str, str]] = []
        self.most = 0
        self._at_work: set[str] = set()
        self._guard = threading.Lock()
        self.params = run_params({"reference": {"path": "r.h5ad"}, "query": {"path": "q.h5ad"}})

    def work(self, run: Run, seconds: float = 0.1) -> None:
        with run.worker_lock():
            asked = run.status().created
            run.write_status(Status(created=asked, heartbeat=time.time()))
            with device_turn(run, check=lambda: None, every=0.01) as device:
                running = Status(state="running", created=asked, started=time.time(), device=device.name)
                run.write_status(running)
                with self._guard:
                    assert device.lock_name not in self._at_work, "two runs on one device"
                    self._at_work.add(device.lock_name)
                    self.most = max(self.most, len(self._at_work))
                    self.started.append((run.owner, device.lock_name))
                time.sleep(seconds)
                with self._guard:
                    self._at_work.remove(device.lock_name)
                run.write_status(replace(running, state="done", finished=time.time()))

    def served(self, owners: str, *, busy: str) -> str:
        """Owners in the order in which they get a device, all of them having asked while the devices were ``busy``."""
        locks = [self.store.lock(name) for name in busy.split()]
        for lock in locks:
            lock.acquire()
        runs = [self.store.create(self.params, owner) for owner in owners]
        threads = [threading.Thread(target=self.work, args=[run]) for run in runs]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(run.status().heartbeat for run in runs), pause=0.01)
        for lock in locks:
            lock.release()
        for thread in threads:
            thread.join(timeout=60)
        assert [run.status().state for run in runs] == ["done"] * len(runs)
        return "".join(owner for owner, _ in self.started)


def test_two_gpus_take_two_runs_at_once(two_gpus: None, tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.served("aaaa", busy="device-gpu-0 device-gpu-1")
    assert crew.most == 2
    assert {device for _, device in crew.started} == {"device-gpu-0", "device-gpu-1"}


def test_on_one_device_three_people_are_served_in_turn(cores: None, tmp_path: Path) -> None:
    assert Crew(tmp_path).served("aaaabbc", busy="device-cpu") == "abcabaa"


def test_a_run_for_the_cpu_does_not_wait_for_a_gpu(two_gpus: None, tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    held = [crew.store.lock(f"device-gpu-{gpu}") for gpu in (0, 1)]
    for lock in held:
        lock.acquire()
    crew.store.create(crew.params, "a")  # waits for a GPU
    crew.work(crew.store.create(crew.params.model_copy(update={"device": "cpu"}), "a"), seconds=0)
    assert crew.started == [("a", "device-cpu")]


def test_dead_and_damaged_runs_keep_nobody_from_a_turn(cores: None, tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    killed, damaged = crew.store.create(crew.params, "a"), crew.store.create(crew.params, "b")
    killed.write_status(Status(created=time.time(), heartbeat=time.time()))
    (damaged.folder / "params.json").write_text("{")
    crew.work(crew.store.create(crew.params, "c"), seconds=0)
    assert crew.started == [("c", "device-cpu")]
