"""Facts of runs for tables: the list of runs and the settings of one."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import BaseModel

from labeltransfer.errors import LabelTransferError
from labeltransfer.params import Params, RunParams
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import find_run
from labeltransfer.runs.worker.stages import STAGE_TITLES
from labeltransfer.storage.files import read_json
from pages.shared import words
from pages.shared.queue_words import Place


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
    status = run.status()
    cells, accuracy = _result(run)
    name, kind = run.id, ""
    with suppress(LabelTransferError):
        name = run.params.name or words.when(status.created)
        kind = "counts only" if run.params.last_stage == "prepare" else ""
    at = _at(status) if status.state == "running" else place.words() if place and status.state == "queued" else ""
    return {
        "Name": f"{name} (comes with the app)" if run.id == "demo" else f"{name} (kept)" if run.kept else name,
        "State": status.state + (f": {at}" if at else ""),
        "Owner": run.owner or "everybody",
        "Created": words.when(status.created),
        "Duration": _lasted(status),
        "Cells": cells or kind,
        "Accuracy": accuracy,
        "Device": status.device,
    }


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
    with suppress(LabelTransferError, OSError, ValueError, KeyError, TypeError):
        scores = read_json(run.artefact("evaluate", "metrics.json"))
        query = scores["query"]
        cells = f"{scores['reference']['n_cells']:,} → {query['n_cells']:,}"
        if query["accuracy"] is None:
            return cells, "no labels to compare"
        return cells, f"{query['accuracy']:.1%} of {query['n_scored']:,}"
    return "", ""


def settings_table(params: RunParams) -> None:
    """Show every setting of a run by its plain name."""
    table = pd.DataFrame(_rows(params, "run"), columns=["Of", "Setting", "Value"])
    st.dataframe(table, hide_index=True, height=360, alt="Table: every setting of the run.")


def _rows(settings: BaseModel, section: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Params):
            yield from _rows(value, name)
        else:
            off = value is None and section == "run"  # those of a single stage are chosen by it, these do nothing
            yield section, field.title or name, "none" if off else _words(value)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k} = {', '.join(v)}" for k, v in value.items()) or "none"
    return "automatic" if value is None else "yes" if value is True else "no" if value is False else str(value)
