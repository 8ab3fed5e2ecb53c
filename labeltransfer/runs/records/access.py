"""Whose a run is: who may see it, and who may change it.

A run belongs to who started it, by name in its folder. Without sign-in there is one visitor, who may do everything; so
may anyone on the command line, for the disk is theirs.
"""

from dataclasses import dataclass

from labeltransfer.config import config
from labeltransfer.runs.records.run import Run


@dataclass(frozen=True)
class Person:
    """Who looks at the app; ``name`` is empty where nobody is asked to sign in."""

    name: str = ""
    admin: bool = True


def may_see(run: Run, person: Person) -> bool:
    """Whether a run is there for a person; one that nobody owns, from before sign-in, is there for everybody.

    Raises
    ------
    SettingsError
        ``$LABELTRANSFER_RUNS_VISIBLE`` is neither all nor own.
    """
    return person.admin or config().runs_visible == "all" or run.owner in ("", person.name)


def may_change(run: Run, person: Person) -> bool:
    """Whether a person may cancel or delete a run: its owner and admins; one that nobody owns, admins alone."""
    return person.admin or (person.name != "" and run.owner == person.name)
