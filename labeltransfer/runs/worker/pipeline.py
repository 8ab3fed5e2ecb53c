"""The stages of a run in order, each skipped where its artefact already exists.

Some are made in a second process, while those after them are made in the first.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from labeltransfer.errors import InputError
from labeltransfer.params import RunParams
from labeltransfer.processes import n_cores
from labeltransfer.runs.queue.devices import Device
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.provenance import make_recorded
from labeltransfer.runs.worker.reporter import Reporter
from labeltransfer.runs.worker.side_process import SecondProcess
from labeltransfer.runs.worker.stages import STAGES, stage_titles
from labeltransfer.storage.digests import digest

FORMAT = 2
"""Raised whenever an artefact's content changes its meaning, so that older ones are made anew."""

OFF_WHEN_EMPTY = ("hidden_label", "mapping", "for_mapping")
"""Params that came later and change nothing while they are empty: artefacts from before them keep their keys."""


def stages_of(params: RunParams) -> list[str]:
    """Names of the stages that were asked for, in order."""
    names = [name for name in STAGES if not (params.mapping and name in ("integrate", "embed_scvi"))]
    if params.reference_alone and params.last_stage == "evaluate":
        return ["prepare", "integrate", "transfer"]
    return names[: names.index(params.last_stage) + 1]


def stage_keys(params: RunParams) -> dict[str, str]:
    """Key of each stage's artefact: a digest of its params, of its inputs' keys and of the files read.

    Raises
    ------
    InputError
        An input file is not there.
    """
    asked = params.model_dump(mode="json")
    keys: dict[str, str] = {}
    for name, stage in STAGES.items():
        params_used = _without_empty({s: asked[s] for s in stage.params})
        content: list[Any] = [FORMAT, name, params_used, [keys[i] for i in stage.inputs]]
        if name == "prepare":
            # What a query is mapped onto is kept with its digest in ``mapping``; its file may have gone since.
            files = ["" if params.mapping else params.reference.path, params.query.path, params.prepare.gene_lengths]
            content.append([_fingerprint(file) for file in files if file])
        keys[name] = digest(json.dumps(content, sort_keys=True))[:20]
    return keys


def reusable_stages(store: Store, params: RunParams) -> list[str]:
    """Names of the asked-for stages whose artefact is already there."""
    keys = stage_keys(params)
    return [name for name in stages_of(params) if store.has_stage(name, keys[name])]


def carry_out(run: Run, reporter: Reporter, device: Device) -> None:
    """Make every stage of a run that is not there yet.

    Raises
    ------
    RunCancelled
        A person asked for the run to stop.
    LabelTransferError
        The data or the params do not allow a stage; those before it are kept.
    """
    job = Job(run, run.params, reporter, device)
    keys = stage_keys(run.params)
    # Left in this order, a failure here ends the process first, and then the thread that waits for it.
    with ThreadPoolExecutor(1) as other, _second_process(job, keys) as second:
        aside: dict[str, Future[None]] = {}
        for name in stages_of(run.params):
            reporter.check()
            for made in [m for m in aside if m in STAGES[name].inputs or aside[m].done()]:
                aside.pop(made).result()
            there = Store(run.root).claim_stage(run, name, keys[name])
            if second and STAGES[name].side_process:
                aside[name] = other.submit(_make, job, name, keys[name], there, second.make)
                continue
            reporter.update(stage=name, epoch=0, n_epochs=0, fraction=0.0, message="")
            _make(job, name, keys[name], there, partial(make_recorded, job))
        for future in aside.values():
            future.result()


@contextmanager
def _second_process(job: Job, keys: dict[str, str]) -> Iterator[SecondProcess | None]:
    """A second process where there is a core and work for it."""
    store = Store(job.run.root)
    wanted = [
        name for name in stages_of(job.params) if STAGES[name].side_process and not store.has_stage(name, keys[name])
    ]
    second = SecondProcess(job) if wanted and n_cores() > 1 else None
    try:
        yield second
    finally:
        if second:
            second.end()


def _make(job: Job, name: str, key: str, there: bool, make: Callable[[str, Path, Sequence[str]], None]) -> None:
    """Make a stage with ``make``, :func:`.provenance.make_recorded` here or elsewhere, unless it is there and whole."""
    run, store = job.run, Store(job.run.root)
    damaged = store.set_damaged_aside(run, name, key) if there else []
    reused = there and not damaged
    if damaged:
        print(f"Stage {name} was damaged on disk ({', '.join(damaged)}) and is made anew", flush=True)
        job.reporter.say(f"{stage_titles(job.params)[name]}: was damaged on disk and is made anew")
    run.append_event("start", stage=name, reused=reused)
    began = time.perf_counter()
    if not reused:
        with store.build_stage(run, name, key) as folder:
            make(name, folder, damaged)
    run.append_event("end", stage=name, seconds=time.perf_counter() - began)


def _without_empty(settings: dict[str, Any]) -> dict[str, Any]:
    """Params without those that came later and are off."""
    own = {name: value for name, value in settings.items() if name not in OFF_WHEN_EMPTY or value}
    return {name: _without_empty(value) if isinstance(value, dict) else value for name, value in own.items()}


def _fingerprint(path: str) -> list[Any]:
    """Path, size and time of change: they differ between states of a file, which is not read."""
    file = Path(path)
    try:
        facts = file.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): choose the file again.") from error
    return [str(file.resolve()), facts.st_size, facts.st_mtime_ns]
