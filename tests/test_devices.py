"""Which devices a run may use, with a stand-in for the NVIDIA driver."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pynvml
import pytest

from labeltransfer.runs import devices as module
from labeltransfer.runs.devices import devices, gpu_use, gpus, peak_memory, reset_peak_memory


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


def test_a_run_may_ask_for_the_cpu_beside_gpus(two_gpus: None) -> None:
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


def test_use_of_a_gpu_is_told_in_percent_and_bytes(two_gpus: None) -> None:
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
