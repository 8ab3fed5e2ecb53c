"""The table of runs."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import pandas as pd
import streamlit as st

from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.queue.liveness import is_silent
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.artefacts import Artefacts
from labeltransfer.runs.records.damage import damage
from labeltransfer.runs.records.run import UNKNOWN_OWNER, Run, Status, marks_of, stamp_of
from labeltransfer.runs.records.scores import read_scores
from labeltransfer.runs.records.store import find_run
from labeltransfer.runs.worker.stages import STAGE_TITLES
from labeltransfer.storage.digests import digest
from pages.door.sign_in import sign_in_is_on
from pages.shared import words
from pages.shared.queue_words import Place, places

SCORES = Artefacts.metrics

SHOWN = 500
"""Runs that are listed unless all are asked for: each takes a millisecond or two when a server sees it first."""


def newest(runs: list[Run], not_over: Collection[Run]) -> list[Run]:
    """The first ``SHOWN`` of ``runs``, newest first, and of the others those that are not over."""
    return runs[:SHOWN] + [run for run in runs[SHOWN:] if run in not_over]


def listing(runs: list[Run], *, any_wait: bool = True) -> list[Run]:
    """Show the table and return the chosen runs; ``any_wait`` says whether any of them is not over."""
    event = st.dataframe(
        runs_table(runs, places() if any_wait else {}, owners=sign_in_is_on()),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs-{digest(' '.join(run.id for run in runs))}",  # another list: rows are numbers, so no choice stays
        column_config={
            "Cells": st.column_config.TextColumn(width=130, help="Reference → query."),
            "Duration": st.column_config.TextColumn(width=95),
            "Accuracy": st.column_config.TextColumn(
                width=130,
                help="Correct predictions of the query cells that can be scored: those with an observed label that the "
                "reference has.",
            ),
            "Name": st.column_config.TextColumn(width=280),
            "Owner": st.column_config.TextColumn(
                help="Who started the run, and with the admins may cancel and delete it."
            ),
        },
        alt="List of runs",
    )
    return [runs[i] for i in event["selection"]["rows"] if i < len(runs)]


def shipped_demo() -> list[Run]:
    """The demo run that comes with the app, if it is there."""
    with suppress(LabelTransferError):
        return [find_run("demo")]
    return []


def runs_table(runs: list[Run], places: Mapping[str, Place], *, owners: bool) -> pd.DataFrame:
    """One row a run, in the given order, with its owner if asked for.

    ``places`` are those of waiting runs in the queue, by id.
    """
    table = pd.DataFrame([_row(run, places.get(run.id)) for run in runs])
    return table if owners else table.drop(columns="Owner")


def _row(run: Run, place: Place | None) -> dict[str, str]:
    """The row of a run; of one that is over, it is kept for as long as its files stay the same."""
    if marks := marks_of(run.folder):
        metrics = _metrics_if_over(run.folder, marks)
        if metrics is not None:
            return _past_row(run.folder, marks, stamp_of(metrics))
    return _present_row(run, place)


@lru_cache(maxsize=1 << 16)
def _metrics_if_over(folder: Path, marks: tuple) -> Path | None:
    """Where the scores of a run are, if it is over for good; a folder that is never there where it has none."""
    run = Run(folder)
    if not run.written_status().over or run.written_status().damaged:
        return None
    try:
        return run.root / "stages" / f"{SCORES.stage}-{run.stage_keys()[SCORES.stage]}" / SCORES.name
    except (LabelTransferError, KeyError):
        return folder / SCORES.name


@lru_cache(maxsize=1 << 16)
def _past_row(folder: Path, marks: tuple, stamp: tuple[int, ...]) -> dict[str, str]:
    return _present_row(Run(folder), None)


def _present_row(run: Run, place: Place | None) -> dict[str, str]:
    status, bad = observed_status(run), damage(run)
    cells, accuracy = _result(run)
    name, kind = run.id, ""
    with suppress(LabelTransferError):
        name = run.params.name or words.when(status.created)
        kind = "counts only" if run.params.last_stage == "prepare" else ""
    at = _at(status) if status.state == "running" else place.words() if place and status.state == "queued" else ""
    return {
        "Name": f"{name} (comes with the app)" if run.id == "demo" else f"{name} (kept)" if run.kept else name,
        "State": f"damaged: {', '.join(bad)}" if bad else _state(run, status, at),
        "Owner": {"": "everyone", UNKNOWN_OWNER: "unknown"}.get(run.owner, run.owner),
        "Created": words.when(status.created),
        "Duration": _lasted(status),
        "Cells": cells or kind,
        "Accuracy": accuracy,
        "Device": status.device,
    }


def _state(run: Run, status: Status, at: str) -> str:
    return status.state + (f": {at}" if at else "") + (", no sign of life" if is_silent(run, status) else "")


def _at(status: Status) -> str:
    title = STAGE_TITLES.get(status.stage, "starting")
    return f"{title}, epoch {status.epoch} of {status.n_epochs}" if status.n_epochs else title


def _lasted(status: Status) -> str:
    if not status.started:
        return ""
    end = status.finished or (status.heartbeat if status.over else time.time())  # a dead worker left no end
    return words.duration(end - status.started) if end > status.started else ""


def _result(run: Run) -> tuple[str, str]:
    """Cells of both sides, and accuracy with its denominator, where the run has them."""
    with suppress(LabelTransferError):
        scores = read_scores(run)
        cells = f"{scores.reference.n_cells:,} → {scores.query.n_cells:,}"
        if scores.query.accuracy is None:
            return cells, "no labels to compare"
        return cells, f"{scores.query.accuracy:.1%} of {scores.query.n_scored:,}"
    return "", ""


def damage_words(run: Run) -> str:
    """What is wrong with a damaged run and what to do, in a sentence or two; empty for any other."""
    bad = damage(run)
    if not bad:
        return ""
    reasons = "; ".join(f"{name} ({why})" for name, why in bad.items())
    return (
        f"Damaged on disk: {reasons}. Delete the run, or put a copy of what is damaged back into {run.folder}. Until "
        "then cleaning keeps what the run may need; no other run is touched."
    )
