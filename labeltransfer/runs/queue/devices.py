"""The devices of this machine, and whose turn it is on them.

GPUs are found through NVML: the app and waiting workers never import torch.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psutil
import pynvml
from filelock import Timeout

from labeltransfer.config import config
from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.queue.line import Line
from labeltransfer.runs.queue.order import turns
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.locks import lock_state


@dataclass(frozen=True)
class Device:
    """A place where one run at a time trains; ``gpu`` is its number, None for the CPU.

    Where several runs share the CPU, each of its ``slot`` numbers has ``n_cores`` to itself; None is all of them.
    """

    name: str
    gpu: int | None = None
    slot: int = 0
    n_cores: int | None = None

    @property
    def lock_name(self) -> str:
        if self.gpu is not None:
            return f"device-gpu-{self.gpu}"
        return f"device-cpu-{self.slot}" if self.slot else "device-cpu"

    @property
    def accelerator(self) -> Literal["cpu", "gpu"]:
        return "cpu" if self.gpu is None else "gpu"


@cache
def gpus() -> tuple[Device, ...]:
    """NVIDIA GPUs that this process may use; none without a driver, or with a PyTorch built for the CPU alone.

    Where a scheduler or an administrator has set ``CUDA_VISIBLE_DEVICES``, only the GPUs named there count.
    """
    if "+cpu" in importlib.metadata.version("torch"):
        return ()
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(gpu) for gpu in range(pynvml.nvmlDeviceGetCount())]
        names = [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except pynvml.NVMLError:
        return ()
    allowed = config().cuda_visible_devices
    visible = range(len(names)) if allowed is None else [int(n) for n in allowed.split(",") if n.strip().isdecimal()]
    return tuple(Device(f"{names[gpu]}, GPU {gpu}", gpu) for gpu in visible if gpu < len(names))


def devices(wanted: str = "auto") -> tuple[Device, ...]:
    """Devices that a run may use: every GPU, or the CPU where there is none or where it is asked for.

    Raises
    ------
    SettingsError
        The number of CPU slots is set to what cannot be.
    """
    return (gpus() if wanted == "auto" else ()) or _cpu_slots()


def devices_of(run: Run) -> tuple[Device, ...]:
    """Devices that a run may use; none where its settings are damaged, which its worker will say."""
    with suppress(LabelTransferError):
        return devices(run.params.device)
    return ()


def _cpu_slots() -> tuple[Device, ...]:
    """The CPU, as many times as ``$LABELTRANSFER_CPU_SLOTS`` says, each with its share of the cores."""
    n_cores, n_slots = os.cpu_count() or 1, config().cpu_slots
    if n_slots == 1:
        return (Device(f"{_processor()}, {n_cores} cores"),)
    share = n_cores // n_slots
    name = f"{_processor()}, {share} of {n_cores} cores"
    return tuple(Device(name, slot=slot, n_cores=share) for slot in range(n_slots))


def gpu_use(device: Device) -> dict[str, float]:
    """Load in percent and memory in bytes; empty for the CPU."""
    if device.gpu is not None:
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByIndex(device.gpu)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            return {
                "gpu_percent": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
                "gpu_memory_bytes": float(memory.used),
                "gpu_memory_total_bytes": float(memory.total),
            }
    return {}


def peak_memory() -> int:
    """The most memory that this process has held since ``reset_peak_memory``, or ever where that did nothing, in bytes.

    What is mapped from files counts as well as far as it is in memory, so libraries do.
    """
    if os.name == "nt":
        return int(psutil.Process().memory_info().peak_wset)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def reset_peak_memory() -> bool:
    """Begin anew with the peak of memory; False where the system, anything but Linux, does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def free_devices(store: Store, choice: tuple[Device, ...]) -> int:
    """How many of some devices no process holds."""
    folder = store.root / "locks"
    return sum(lock_state(folder / f"{device.lock_name}.lock") == "free" for device in choice)


@contextmanager
def device_turn(run: Run, *, check: Callable[[], None], called: bool = False, every: float = 0.1) -> Iterator[Device]:
    """Wait until a device is free and it is this run's turn, see :mod:`.order`; hold the device until the block ends.

    The kernel frees the lock of a process that dies. On a cluster the turn has come already: it decides who runs where.

    Parameters
    ----------
    run
        The run whose turn it shall be.
    check
        Called while waiting; raises to give up.
    called
        Whether the dispatcher has found that it is this run's turn; else it is found here.
    every
        Seconds between two looks.
    """
    placed = config().placed
    if placed is not None:
        yield devices("auto" if placed == "gpu" else "cpu")[0]
        return
    store = Store(run.root)
    choice, line = devices(run.params.device), Line(store)
    while True:
        check()
        # The queue is read only when a device is free, so that waiting costs next to nothing, and before the device is
        # held, so that reading it holds up nobody whose turn it is.
        if free_devices(store, choice) and (called or _is_next(run, line, choice)):
            for device in choice:
                lock = store.lock(device.lock_name)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                try:
                    yield device
                    return
                finally:
                    lock.release()
        time.sleep(every)


def _is_next(run: Run, line: Line, choice: tuple[Device, ...]) -> bool:
    rivals = (entry.id for entry in turns(line.look()) if devices_of(line.run(entry.id)) == choice)
    return next(rivals, run.id) == run.id


def _processor() -> str:
    """Name of the processor as its maker gives it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
