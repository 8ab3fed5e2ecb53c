"""The maker of each stage: a function of a job and the folder to write to.

Its module is imported when the stage is made, with torch, scvi-tools and scanpy as far as it needs them: a worker that
waits, or finds everything made, stays light.
"""

from collections.abc import Callable
from pathlib import Path

from labeltransfer.params import RunParams
from labeltransfer.runs.worker.job import Job

Maker = Callable[[Job, Path], None]


def _prepare(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import prepare

    prepare.make(job, folder)


def _prepare_mapped(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import prepare_mapped

    prepare_mapped.make(job, folder)


def _integrate(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import integrate

    integrate.make(job, folder)


def _embed_scvi(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import embed

    embed.make(job, folder, latent_of="integrate")


def _transfer(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import transfer

    transfer.make(job, folder)


def _map_labels(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import map_labels

    map_labels.make(job, folder)


def _embed_scanvi(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import embed

    embed.make(job, folder, latent_of="transfer")


def _opinions(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import opinions

    opinions.make(job, folder)


def _evaluate(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.makers import evaluate

    evaluate.make(job, folder)


MAKERS: dict[str, Maker] = {
    "prepare": _prepare,
    "integrate": _integrate,
    "embed_scvi": _embed_scvi,
    "transfer": _transfer,
    "embed_scanvi": _embed_scanvi,
    "opinions": _opinions,
    "evaluate": _evaluate,
}

MAPPED: dict[str, Maker] = {"prepare": _prepare_mapped, "transfer": _map_labels}
"""Stages that a run makes in another way when it maps its query onto a published reference."""


def maker(stage: str, params: RunParams) -> Maker:
    """The maker of a stage of a run with these params."""
    return (MAKERS | MAPPED if params.mapping else MAKERS)[stage]
