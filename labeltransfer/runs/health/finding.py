"""What a check found: a line of ``labeltransfer doctor``."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from labeltransfer.errors import LabelTransferError

State = Literal["well", "note", "to do", "fixed"]
"""``note`` is worth knowing and nothing to do about."""

MOST_LINES = 20
"""Lines about things of one kind: a home may hold thousands of runs."""


@dataclass(frozen=True)
class Finding:
    """One line.

    ``fix`` sets it right, and is there only where that is known to be safe; it raises OSError or LabelTransferError
    where it fails, and returns what it did, in words.
    """

    what: str
    state: State
    about: str
    way_out: str = ""
    fix: Callable[[], str] | None = None


def fixed(finding: Finding) -> Finding:
    """The line once its fix was tried; unchanged where there is none."""
    if finding.state != "to do" or finding.fix is None:
        return finding
    try:
        return replace(finding, state="fixed", about=finding.fix(), way_out="", fix=None)
    except (OSError, LabelTransferError) as error:
        return replace(finding, about=f"{finding.about} It could not be fixed: {error}.", fix=None)


def guarded(what: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; a check that ends in an error, whichever it is, is a line as well."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  a home may be broken in any way, and the other lines are wanted all the more
        about = str(error) if isinstance(error, LabelTransferError) else f"{type(error).__name__}: {error}"
        yield Finding(what, "to do", f"This could not be checked ({about}).", "Correct what it says, then look again.")


def at_most(findings: Iterable[Finding], n_most: int = MOST_LINES) -> Iterator[Finding]:
    """The first lines of one kind, and how many more there are."""
    n_more, last = 0, None
    for number, finding in enumerate(findings):
        if number < n_most:
            yield finding
        else:
            n_more, last = n_more + 1, finding
    if last is not None:
        yield Finding(last.what, last.state, f"{n_more:,} more of this kind.")
