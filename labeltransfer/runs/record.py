"""How an artefact was made, kept beside it."""

import importlib.metadata
from typing import Any

from labeltransfer.runs.devices import Device, peak_memory

PACKAGES = ("scvi-tools", "torch", "scanpy", "anndata", "pymde", "numpy")


def record(stage: str, settings: dict[str, Any], device: Device, seconds: float, *, own_peak: bool) -> dict[str, Any]:
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
