"""Make an artefact, and keep next to it how it was made."""

import importlib.metadata
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labeltransfer.runs.queue.devices import Device, peak_memory, reset_peak_memory
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.registry import maker
from labeltransfer.runs.worker.stages import STAGES
from labeltransfer.storage import files

PACKAGES = ("scvi-tools", "torch", "scanpy", "anndata", "pymde", "numpy")


def make_recorded(job: Job, stage: str, folder: Path, damaged: Sequence[str]) -> None:
    """Make a stage's artefact in a folder, with its ``stage.json``.

    Parameters
    ----------
    job
        The run's.
    stage
        Name of the stage.
    folder
        Where to write.
    damaged
        Files of an earlier artefact that were damaged on the disk, which is why it is made anew.
    """
    began = time.perf_counter()
    own_peak = reset_peak_memory()
    maker(stage, job.params)(job, folder)
    settings = {name: job.params.model_dump(mode="json")[name] for name in STAGES[stage].params}
    facts = provenance(stage, settings, job.device, time.perf_counter() - began, own_peak=own_peak)
    if damaged:
        facts["made_anew"] = {"time": time.time(), "damaged": list(damaged)}
    files.write_json(folder / "stage.json", facts)


def provenance(
    stage: str, settings: dict[str, Any], device: Device, seconds: float, *, own_peak: bool
) -> dict[str, Any]:
    """What ``stage.json`` holds.

    Memory is the process's resident memory, libraries included: its peak within the stage where ``own_peak`` says that
    this is known, else its peak since the process began, under a name of its own.
    """
    return {
        "stage": stage,
        "settings": settings,
        "seconds": round(seconds, 2),
        "peak_memory_bytes" if own_peak else "peak_memory_bytes_since_start": peak_memory(),
        "device": device.name,
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }
