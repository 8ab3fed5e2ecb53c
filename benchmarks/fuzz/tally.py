"""What came of spoilt inputs, and whether that is a fault of the app."""

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz.child import Ended
from benchmarks.tables import table


@dataclass(frozen=True)
class Input:
    """A spoilt file.

    ``expected`` is what has to come of it: "read", "refused", "any" of both, or, where bytes were spoilt and nobody
    knows what the file means any more, "no matter": a damaged chunk may even be unpacked otherwise the next time.
    """

    number: int
    path: Path
    name: str
    expected: str


@dataclass
class Tally:
    """What came of the inputs so far; ``faults`` are those of the app, and ``faulty`` the inputs that show them."""

    n_inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    carried: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    faulty: list[Path] = field(default_factory=list)
    peak_bytes: int = 0
    slowest: float = 0.0

    def note(self, one: Input, outcome: str, reason: str, ended: Ended) -> None:
        """Count an input."""
        self.outcomes[outcome] += 1
        self.reasons[f"{outcome}: {_kind(reason)}"] += 1
        self.took(ended)
        if outcome == "fault":
            self.fault(f"{one.name}: {reason}", one)

    def took(self, ended: Ended) -> None:
        """Keep the most that anything took."""
        self.peak_bytes = max(self.peak_bytes, ended.peak_bytes)
        self.slowest = max(self.slowest, ended.seconds if not ended.stopped else 0.0)

    def fault(self, what: str, one: Input | None = None) -> None:
        """Keep a fault of the app, and say it at once."""
        self.faults.append(what)
        self.faulty += [one.path] if one else []
        print(what, file=sys.stderr, flush=True)


def judge(ended: Ended, expected: str, *, passed: bool = False) -> tuple[str, str]:
    """Say what came of an input, and why.

    Parameters
    ----------
    ended
        How the child ended that looked at it.
    expected
        See ``Input``.
    passed
        The probe has let it pass before.

    Returns
    -------
    "read", "refused", "ended by the probe" or "fault", and the reason.
    """
    words = [line.partition(" ") for line in ended.lines]
    for first, _, rest in words:
        if first in ("traceback", "unclear", "leaked") or (first == "differs" and expected != "no matter"):
            return "fault", f"{first} {rest}"
    first, _, rest = words[-1] if words else ("", "", "")
    if ended.stopped:
        # Before the probe has let it pass, an end costs nothing but a process.
        return ("fault" if words or passed else "ended by the probe"), f"{ended.stopped} {first}".strip()
    outcome = "refused" if first == "refused" else "read"
    if expected in ("read", "refused") and outcome != expected:
        return "fault", f"{outcome}, not {expected}: {rest}"
    return outcome, rest if outcome == "refused" else f"{first} {rest}".strip()


def _kind(reason: str) -> str:
    """A reason without what differs from file to file."""
    reason = re.sub(r"^[\w.-]+\.h5ad: ", "", reason.splitlines()[0] if reason else "")
    return re.sub(r"\d[\d,.]*", "N", re.sub(r"'[^']*'", "'…'", reason))[:70]


def describe(tally: Tally, n_kinds: int, seconds: float) -> str:
    """The section of results.md."""
    carried = f"{sum(tally.carried.values()):,} of those that were read"
    most = f"{tally.slowest:.1f} s, and the largest process {tally.peak_bytes / 2**20:,.0f} MiB"
    head = (
        f"{tally.n_inputs:,} spoilt files of {n_kinds} kinds went the way of an upload; "
        f"{carried} went on through prepare with a valid file. Faults (a traceback, an unclear message, a file read "
        "otherwise than anndata reads it, something opened outside, no end after the probe, or another answer of the "
        f"app's own probe): **{len(tally.faults)}**. {seconds:,.0f} s in all; the slowest look that ended took {most}."
    )
    rows = [(name, f"{n:,}", f"{tally.carried[name]:,}") for name, n in tally.outcomes.most_common()]
    rows += [(name, "0", f"{n:,}") for name, n in tally.carried.items() if name not in tally.outcomes]
    reasons = [(reason.replace("|", "/"), f"{n:,}") for reason, n in tally.reasons.most_common(25)]
    return "\n\n".join([head, table(["outcome", "inputs", "prepared"], rows), table(["why", "inputs"], reasons)])
