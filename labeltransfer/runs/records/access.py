"""Whose a run is: who may see it, and who may change it.

A run belongs to who started it, by name in its folder. Without sign-in there is one visitor, who may do everything; so
may whoever works on the command line, for the disk is theirs.
"""

import os
from dataclasses import dataclass
from typing import Literal, get_args

from labeltransfer.errors import SettingsError
from labeltransfer.runs.records.run import Run

Visibility = Literal["all", "own"]
VISIBLE = "LABELTRANSFER_RUNS_VISIBLE"


@dataclass(frozen=True)
class Person:
    """Who looks at the app; ``name`` is empty where nobody is asked to sign in."""

    name: str = ""
    admin: bool = True


def visibility() -> Visibility:
    """Whether everybody sees the lab's runs or only their own, ``$LABELTRANSFER_RUNS_VISIBLE``; ``all`` where unset.

    Raises
    ------
    SettingsError
        It is set to something else.
    """
    asked = os.environ.get(VISIBLE, "").strip().lower() or "all"
    for known in get_args(Visibility):
        if asked == known:
            return known
    raise SettingsError(f"{VISIBLE} is '{asked}': set it to all or own, or leave it out, and start the app again.")


def may_see(run: Run, person: Person) -> bool:
    """Whether a run is there for a person; one that nobody owns, from before sign-in, is there for everybody.

    Raises
    ------
    SettingsError
        See :func:`visibility`.
    """
    return person.admin or visibility() == "all" or run.owner in ("", person.name)


def may_change(run: Run, person: Person) -> bool:
    """Whether a person may cancel or delete a run: its owner and admins; one that nobody owns, admins alone."""
    return person.admin or (person.name != "" and run.owner == person.name)
