"""Who did what on this server, for its admins: ``activity.jsonl`` in the app's own folder.

A line says when, who, what they did, and to which run, upload or reference, by its name. No content of a file and
nothing about cells is kept. Where an act is carried out, :func:`note` is called once it has succeeded, in the app, on
the command line and in a worker alike; it never makes the act itself fail.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from labeltransfer.config import config
from labeltransfer.errors import LabelTransferError
from labeltransfer.storage.journal import Journal
from labeltransfer.units import named

FILE = "activity.jsonl"

Kind = Literal["signed in", "started", "cancelled", "deleted", "published", "relabelled"]
"""What is noted."""

Thing = Literal["", "run", "upload", "download", "reference"]
"""What it was done to; empty for a sign-in."""

KINDS, THINGS = frozenset(get_args(Kind)), frozenset(get_args(Thing))

LATEST = 1e11
"""Seconds since the epoch that no clock shows: a time beyond them cannot be read."""


@dataclass(frozen=True)
class Act:
    """One thing that a person did; ``who`` is empty where nobody had signed in, as on the command line."""

    time: float
    who: str
    kind: Kind
    thing: Thing = ""
    id: str = ""
    name: str = ""


FIELDS = {field.name for field in fields(Act)}


@dataclass(frozen=True)
class Activity:
    """What was done, the newest first, and how many lines could not be read."""

    acts: list[Act] = field(default_factory=list)
    n_unreadable: int = 0


def journal(root: Path) -> Journal:
    """The file and those before it, in the app's own folder ``root``."""
    return Journal(root / FILE)


def note(root: Path, kind: Kind, who: str, *, thing: Thing = "", id: str = "", name: str = "") -> None:
    """Note what a person did, unless the server is set not to; nothing is raised where that fails.

    Parameters
    ----------
    root
        The app's own folder, that of the store.
    kind
        What they did.
    who
        Their name, as of an owner; empty where nobody had signed in.
    thing, id, name
        What it was done to: its kind, the id of a run or upload, and the name that people know it by.
    """
    try:
        if config().activity == "on":
            act = Act(time.time(), _text(who), kind, thing, _text(id), _text(name))
            journal(root).append(asdict(act))
    except (OSError, ValueError, LabelTransferError):
        return


def read_activity(root: Path) -> Activity:
    """All that is kept. A file that is not there counts as empty, and a line that cannot be read is counted."""
    acts, n_unreadable = [], 0
    for entry in journal(root).lines():
        act = None if entry is None else _act(entry)
        if act is None:
            n_unreadable += 1
        else:
            acts.append(act)
    return Activity(acts, n_unreadable)


def _text(text: str) -> str:
    """Text that fits on a line and can be written, whatever it is."""
    return named(text.encode("utf-8", "replace").decode())


def _act(entry: Mapping[str, Any]) -> Act | None:
    """The act that an entry tells of; None where it is none."""
    moment: Any = entry.get("time")
    kind: Any = entry.get("kind")
    thing: Any = entry.get("thing", "")
    texts = [entry.get(name, "") for name in ("who", "id", "name")]
    if not all(isinstance(text, str) for text in (kind, thing, *texts)) or not entry.keys() <= FIELDS:
        return None
    if not isinstance(moment, int | float) or not 0 <= moment < LATEST or kind not in KINDS or thing not in THINGS:
        return None
    who, id, name = (text if text.isascii() else _text(text) for text in texts)
    return Act(moment, who, kind, thing, id, name)
