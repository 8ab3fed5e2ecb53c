"""When waiting runs are expected to start, by how long finished runs of a like kind took."""

import heapq
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from statistics import median

from labeltransfer.errors import LabelTransferError
from labeltransfer.params import RunParams
from labeltransfer.runs.queue.devices import Device, devices_of
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.records.timing import remaining_seconds, stage_seconds
from labeltransfer.runs.start.related_runs import related_key
from labeltransfer.runs.worker.pipeline import stage_keys, stages_of

N_LIKE = 5
"""Finished runs that the expectation is the median of, the newest ones."""


def expected_starts(runs: Sequence[Run], line: Iterable[Run]) -> dict[str, float]:
    """Seconds until runs that wait are expected to start, by id; those of which nothing is known are left out.

    Parameters
    ----------
    runs
        All runs, newest first.
    line
        Those that wait for a device, the next one first.
    """
    waiting = [(run, choice) for run in line if (choice := devices_of(run))]
    if not waiting:  # the files of all finished runs need not be read
        return {}
    states = [(run, observed_status(run)) for run in runs]
    finished = [run for run, status in states if status.state == "done"]
    at_work: dict[tuple[Device, ...], list[float]] = defaultdict(list)
    for run, status in states:
        if status.state == "running":
            at_work[devices_of(run)].append(_remaining(run, status, finished))
    free: dict[tuple[Device, ...], list[float]] = {}  # seconds until each device is free, the soonest first
    starts = {}
    for run, choice in waiting:
        if choice not in free:
            busy = sorted(at_work[choice])
            free[choice] = [0.0] * (len(choice) - len(busy)) + busy
        start = heapq.heappop(free[choice])
        heapq.heappush(free[choice], start + _whole(run, finished))
        if math.isfinite(start):
            starts[run.id] = start
    return starts


def stages_expected(params: RunParams, finished: Iterable[Run]) -> dict[str, float]:
    """Seconds by stage that a run's like took: of the same files, else of files of a like size; empty without any.

    Parameters
    ----------
    params
        What the run was asked.
    finished
        Runs that are done, newest first.
    """
    wanted_pace, wanted_key = _pace(params), related_key(params)
    same: list[dict[str, float]] = []
    like: list[dict[str, float]] = []
    for run in finished:
        if len(same) == N_LIKE:
            break
        with suppress(LabelTransferError, OSError, ValueError, ArithmeticError):  # of damaged settings, or lost files
            pace, key = _kind(run.folder)
            if pace != wanted_pace:
                continue
            if key == wanted_key:
                same.append(stage_seconds(run))
            elif len(like) < N_LIKE and 0.5 <= _bytes(run.params) / _bytes(params) <= 2:
                like.append(stage_seconds(run))
    known = same or like
    stages = {stage for seconds in known for stage in seconds}
    return {stage: median(seconds[stage] for seconds in known if stage in seconds) for stage in stages}


def _whole(run: Run, finished: Iterable[Run]) -> float:
    """Seconds that a waiting run will take; infinite where nothing is known."""
    expected = stages_expected(run.params, finished)
    return sum(expected.get(stage, math.inf) for stage in _to_make(run))


def _remaining(run: Run, status: Status, finished: Iterable[Run]) -> float:
    """Seconds that a running run still takes; infinite where nothing is known."""
    try:
        expected = stages_expected(run.params, finished)
    except LabelTransferError:  # its settings are damaged since it began
        return math.inf
    began = {event["stage"]: float(event["time"]) for event in run.events("start")}
    ended = {event["stage"] for event in run.events("end")}
    left = 0.0
    for stage in _to_make(run):
        if stage in ended:
            continue
        seconds = expected.get(stage, math.inf) - (time.time() - began.get(stage, time.time()))
        if stage == status.stage and not 0 < seconds < math.inf:  # not known, or longer than its like: by its own pace
            pace = remaining_seconds(run, status)
            seconds = pace if pace is not None else max(seconds, 0.0)
        left += max(seconds, 0.0)
    return left


def _to_make(run: Run) -> list[str]:
    """Stages of a run whose artefact is not there yet."""
    store = Store(run.root)
    with suppress(LabelTransferError, ValueError):  # without its files it will fail at once
        keys = stage_keys(run.params)
        return [stage for stage in stages_of(run.params) if not store.has_stage(stage, keys[stage])]
    return []


@lru_cache(maxsize=4096)
def _kind(folder: Path) -> tuple[str, str]:
    """Texts that a run has in common with those of its pace and with related ones; kept, for no run changes them."""
    params = Run(folder).params
    return _pace(params), related_key(params)


def _pace(params: RunParams) -> str:
    """What a run's pace depends on, apart from its cells: all settings but those that choose them or change little."""
    trainings = () if params.last_stage != "prepare" else ("integrate", "transfer", "embed")
    of_results = ("reject_below", "level_keys", "error_to_bear")
    others = ("name", "reference", "query", "seed", "hidden_label", *of_results, *trainings)
    of_prepare = {"gene_lengths", "length_normalize", "hvg_batch"}
    return params.model_dump_json(exclude={"prepare": of_prepare, **dict.fromkeys(others, True)})


def _bytes(params: RunParams) -> int:
    return Path(params.reference.path).stat().st_size + Path(params.query.path).stat().st_size
