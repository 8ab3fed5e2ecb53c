"""The stages of a run in order, each skipped where its artefact already exists."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from labeltransfer import home
from labeltransfer.errors import InputError
from labeltransfer.params import RunParams
from labeltransfer.runs.devices import Device, reset_peak_memory
from labeltransfer.runs.record import record
from labeltransfer.runs.reporter import Reporter
from labeltransfer.runs.run import Run
from labeltransfer.runs.stages import STAGES, Job, maker, stage_titles
from labeltransfer.runs.store import Store

FORMAT = 2
"""Raised whenever an artefact's content changes its meaning, so that older ones are made anew."""

OFF_WHEN_EMPTY = ("hidden_label", "mapping", "for_mapping")
"""Settings that came later and change nothing while they are empty: artefacts from before them keep their keys."""


def stages_of(params: RunParams) -> list[str]:
    """Names of the stages that were asked for, in order."""
    names = [name for name in STAGES if not (params.mapping and name in ("integrate", "embed_scvi"))]
    if params.reference_alone and params.last_stage == "evaluate":
        return ["prepare", "integrate", "transfer"]
    return names[: names.index(params.last_stage) + 1]


def stage_keys(params: RunParams) -> dict[str, str]:
    """Key of each stage's artefact: a digest of its settings, of its inputs' keys and of the files read.

    Raises
    ------
    InputError
        An input file is not there.
    """
    asked = params.model_dump(mode="json")
    keys: dict[str, str] = {}
    for name, stage in STAGES.items():
        settings = _told({s: asked[s] for s in stage.settings})
        content: list[Any] = [FORMAT, name, settings, [keys[i] for i in stage.inputs]]
        if name == "prepare":
            # What a query is mapped onto stands with its digest in ``mapping``; its file may have gone since.
            files = ["" if params.mapping else params.reference.path, params.query.path, params.prepare.gene_lengths]
            content.append([_fingerprint(file) for file in files if file])
        keys[name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
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
        Somebody asked for the run to stop.
    LabelTransferError
        The data or the settings do not allow a stage; those before it are kept.
    """
    store = Store(run.root)
    params = run.params
    job = Job(run, params, reporter, device)
    keys = stage_keys(params)
    for name in stages_of(params):
        reporter.check()
        reporter.update(stage=name, epoch=0, n_epochs=0, fraction=0.0, message="")
        reused = store.claim_stage(run, name, keys[name])
        damaged = store.set_damaged_aside(run, name, keys[name]) if reused else []
        if damaged:
            reused = False
            print(f"Stage {name} was damaged on disk ({', '.join(damaged)}) and is made anew", flush=True)
            reporter.say(f"{stage_titles(params)[name]}: was damaged on disk and is made anew")
        run.append_event("start", stage=name, reused=reused)
        began = time.perf_counter()
        own_peak = reset_peak_memory()
        if not reused:
            with store.build_stage(run, name, keys[name]) as folder:
                maker(name, params)(job, folder)
                settings = {s: params.model_dump(mode="json")[s] for s in STAGES[name].settings}
                seconds = time.perf_counter() - began
                facts = record(name, settings, device, seconds, own_peak=own_peak)
                if damaged:
                    facts["made_anew"] = {"time": time.time(), "damaged": damaged}
                home.write_json(folder / "stage.json", facts)
        run.append_event("end", stage=name, seconds=time.perf_counter() - began)


def _told(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that came later and are off."""
    own = {name: value for name, value in settings.items() if name not in OFF_WHEN_EMPTY or value}
    return {name: _told(value) if isinstance(value, dict) else value for name, value in own.items()}


def _fingerprint(path: str) -> list[Any]:
    """Tells one state of a file from another without reading it whole."""
    file = Path(path)
    try:
        facts = file.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): choose the file again.") from error
    return [str(file.resolve()), facts.st_size, facts.st_mtime_ns]
