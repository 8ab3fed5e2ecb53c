"""The pace of a run: its epochs, how long it took, and how long it still takes."""

from contextlib import suppress
from statistics import median
from typing import Any

from pydantic import BaseModel, TypeAdapter

from labeltransfer.errors import DamagedError, RunError
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.storage.files import SAME_SETTINGS, read_json
from labeltransfer.storage.records import Seconds, read_record


class _MadeAnew(BaseModel):
    time: Seconds


class _Made(BaseModel):
    """What ``stage.json`` says of the time."""

    seconds: Seconds
    made_anew: _MadeAnew | None = None


_MADE = TypeAdapter(_Made)


def remaining_seconds(run: Run, status: Status) -> float | None:
    """Seconds that the present training still takes, from the pace of its last ten epochs; None before the first."""
    pace = [e["seconds"] for e in run.events("epoch") if e["stage"] == status.stage][-10:]
    if status.state != "running" or not pace:
        return None
    return (1 - status.fraction) * status.n_epochs * median(pace)


def training_history(run: Run) -> list[dict[str, Any]]:
    """Events ``epoch`` and ``stopped`` of both trainings, oldest first, also where this run reuses another's model."""
    events = [event for event in run.events() if event["event"] in ("epoch", "stopped")]
    for stage in ("transfer", "integrate"):
        if stage in reused_stages(run):
            with suppress(RunError):
                events = read_json(run.artefacts.history(stage)) + events
    return events


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds that the making of each of a run's artefacts took, whichever run made it."""
    return {stage: _made(run, stage).seconds for stage in run.stage_keys()}


def remade_stages(run: Run) -> dict[str, float]:
    """When artefacts of a run were made anew, by whichever run, since they were damaged on disk; by stage."""
    created, found = run.written_status().created, {}
    keys: dict[str, str] = {}
    with suppress(DamagedError):
        keys = run.stage_keys()
    for stage in keys:
        with suppress(RunError):  # a damaged one says nothing
            anew = _made(run, stage).made_anew
            if anew and anew.time >= created:  # what an earlier run repaired does not concern this one
                found[stage] = anew.time
    return found


def _made(run: Run, stage: str) -> _Made:
    """How a stage of a run was made; raises RunError where that is unknown."""
    path = run.artefacts.made(stage)
    found = read_record(path, _MADE, way_out=SAME_SETTINGS)
    if found is None:
        raise RunError(f"Run {run.id} has no finished stage '{stage}': start it again to make it.")
    return found


def reused_stages(run: Run) -> list[str]:
    """Stages that this run found finished."""
    return [event["stage"] for event in run.events("start") if event["reused"]]
