"""How runs, files and numbers are called on the pages."""

import re
import time
from pathlib import Path
from typing import Any

from labeltransfer.errors import DamagedError, LabelTransferError
from labeltransfer.params import Side
from labeltransfer.runs.records.run import Run, State
from labeltransfer.storage.records import printable, read_json_content
from labeltransfer.units import duration as duration
from labeltransfer.units import size as size

STATE_BADGES: dict[State, str] = {
    "queued": ":gray-badge[:material/schedule: queued]",
    "running": ":blue-badge[:material/pending: running]",
    "done": ":green-badge[:material/check: done]",
    "failed": ":red-badge[:material/error: failed]",
    "cancelled": ":orange-badge[:material/block: cancelled]",
}


_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_BLOCK_STARTS = re.compile(r"^([-+=]|\d{1,9}(?=[.)]))")
_ADDRESSES = re.compile(r"(?i)(?<=http)(?=s?://)|(?<=www)(?=\.)|(?<=@)")
_NOTHING = "\u2060"
"""A word joiner: it is not seen, and no address goes on behind it. A backslash would not do: addresses are looked for
once backslashes are gone."""


def plain(text: str) -> str:
    """Text from a file as it is, on one line: none of it is read as Markdown, and no address in it becomes a link."""
    text = printable(_BREAKS.sub(" ", text).strip())  # a name that is no UTF-8 would end the page
    text = _ADDRESSES.sub(_NOTHING, text)
    escaped = "".join("\\" + c if c in "\\`*_[]<>$:~|&#" else c for c in text)
    return _BLOCK_STARTS.sub(lambda found: _block_start(found[0]), escaped)


def _block_start(mark: str) -> str:
    """The same mark at the beginning of a line, where it would make a list or a heading."""
    return mark + _NOTHING if mark.isdigit() else "\\" + mark


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
