"""One sentence of the input report."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

NOTHING_TO_DO = "Nothing to do."
"""The way out of a finding that is good news."""


@dataclass(frozen=True)
class Finding:
    """Something that the user should know about an input, in plain words."""

    severity: Severity
    """error: a run would fail or mean nothing; warning: look at it first; note: good to know."""
    title: str
    """A few words."""
    detail: str
    """What was seen, with numbers."""
    way_out: str
    """What to do about it, or what the app does."""
