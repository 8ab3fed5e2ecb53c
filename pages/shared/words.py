"""How runs, files and numbers are called on the pages."""

import time
from pathlib import Path
from typing import Any

from labeltransfer.errors import DamagedError, LabelTransferError
from labeltransfer.params import Side
from labeltransfer.runs.records.run import Run, State
from labeltransfer.storage.records import read_json_content
from labeltransfer.units import duration as duration
from labeltransfer.units import size as size
from pages.door.plain import plain as plain

STATE_BADGES: dict[State, str] = {
    "queued": ":gray-badge[:material/schedule: queued]",
    "running": ":blue-badge[:material/pending: running]",
    "done": ":green-badge[:material/check: done]",
    "failed": ":red-badge[:material/error: failed]",
    "cancelled": ":orange-badge[:material/block: cancelled]",
}


def run_title(run: Run) -> str:
    """Name of a run, else when it was made."""
    if run.id == "demo":
        return "Demo"
    try:
        name = run.params.name
    except LabelTransferError:
        name = ""
    return plain(name) if name else when(run.written_status().created)


def side_words(settings: dict[str, Any], side: Side, counted: dict[str, Any] | None = None) -> str:
    """Words for one input of a run's settings, such as 'Reference facs.h5ad (4,200 cells, 17 labels)'."""
    published = (settings.get("mapping") or {}).get("reference") if side == "reference" else None
    name = published or settings[side].get("technology") or Path(settings[side].get("path") or "").name
    numbers = [
        f"{counted[key]:,} {word}"
        for key, word in (("n_cells", "cells"), ("n_labels", "labels"))
        if counted and counted.get(key)
    ]
    return f"{side.title()} **{plain(str(name))}**" + (f" ({', '.join(numbers)})" if numbers else "")


def read_counts(summary: Path) -> dict[str, Any]:
    """``summary.json`` of a prepared artefact, with the number of labels of each side; empty where it is unreadable."""
    try:
        counts = read_json_content(summary) or {}
        return counts | {
            side: counts[side] | {"n_labels": len(counts[side]["labels"])}
            for side in ("reference", "query")
            if side in counts
        }
    except (DamagedError, KeyError, TypeError):
        return {}


def when(seconds: float) -> str:
    """Time of day in the server's zone, such as '2026-03-01 14:05'."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "unknown"


def about(seconds: float) -> str:
    """A duration that is only expected, in words, such as 'about 25 minutes'."""
    minutes = max(1, round(seconds / 60))
    if minutes > 10:
        minutes = 5 * round(minutes / 5)
    if minutes < 90:
        return f"about {minutes} minutes" if minutes > 1 else "about a minute"
    hours = round(minutes / 30) / 2
    return f"about {hours:g} hours"
