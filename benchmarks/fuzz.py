"""Spoil h5ad files and take them the way of an upload: each has to be refused in plain words or read right.

``python -m benchmarks.fuzz``; ``--inputs 200 --through 30`` for a short one, ``--only NAME --seed N`` for one kind.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from benchmarks import fuzz_look
from benchmarks.fuzz_bases import SPARSE, write_bases
from benchmarks.fuzz_child import Ended, Watch, in_children
from benchmarks.fuzz_structure import BYTES, OUTSIDE, SECRETS, STRUCTURE
from benchmarks.fuzz_values import VALUES
from benchmarks.report import keep, table
from labeltransfer.data import probe
from labeltransfer.data.intake import Summary, read_summary
from labeltransfer.errors import InputError
from labeltransfer.params import Side

KINDS = VALUES | STRUCTURE | BYTES
CANARY = "n0b0dy-may-read-this"
MEMORY = probe.MEMORY
BATCH = 50
"""Inputs that one child looks at, unless it dies of one."""
PATIENCE = 10.0
"""Seconds; the probe itself gives 60."""


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


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--through", type=int, default=1_000, help="inputs that go on through prepare")
    parser.add_argument("--probes", type=int, default=40, help="inputs that the app's own probe looks at as well")
    parser.add_argument(
        "--top-genes", type=int, default=100, help="genes to choose; 2000 are all, which needs no ranking"
    )
    parser.add_argument("--minutes", type=float, default=120, help="make no more inputs after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of change")
    parser.add_argument("--faulty", type=Path, help="folder to keep the inputs in that show a fault")
    parser.add_argument("--keep", action="store_true", help="write the section of results.md")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(Path(folder), options)
    text = describe(tally, time.monotonic() - begin)
    if options.keep:
        keep("Spoilt inputs", "python -m benchmarks.fuzz", text)
    else:
        print(text)
    return 1 if tally.faults else 0


def fuzz(folder: Path, options: argparse.Namespace) -> Tally:
    """Make and try the inputs."""
    for name in ("bases", "inputs", OUTSIDE):
        (folder / name).mkdir()
    with h5py.File(folder / OUTSIDE / SECRETS[0], "w") as file:
        file["data"] = np.frombuffer((CANARY * 10).encode(), "u1")
    (folder / OUTSIDE / SECRETS[1]).write_text(CANARY * 10)
    bases = write_bases(folder / "bases")
    valid = read_summary(bases["by row"])
    # Done once here, so that no child has to import what this takes.
    fuzz_look.look(valid.path, valid, CANARY, str)
    fuzz_look.carry(valid.path, valid, "query", options.top_genes, CANARY, str)
    watch, tally = Watch(folder / OUTSIDE), Tally()
    kinds = [options.only] if options.only else list(KINDS)
    end = time.monotonic() + 60 * options.minutes
    for first in range(0, options.inputs, BATCH):
        if time.monotonic() > end:
            break
        numbers = range(first, min(first + BATCH, options.inputs))
        inputs = [make(folder / "inputs", kinds[i % len(kinds)], bases, options.seed, i) for i in numbers]
        watch.touched()  # what the making of them opened
        _try(inputs, valid, options, tally)
        if watch.touched():
            tally.fault(f"a file outside was opened by one of the inputs {first} to {numbers[-1]}")
        for one in inputs:
            one.path.unlink()
        if (first // BATCH) % 8 == 7:
            print(f"{tally.n_inputs:,} inputs, {len(tally.faults)} faults", file=sys.stderr, flush=True)
    return tally


def _try(inputs: list[Input], valid: Summary, options: argparse.Namespace, tally: Tally) -> None:
    """Take some inputs the way of an upload, and those that are read, while more are wanted, through prepare."""
    looks = [partial(fuzz_look.look, one.path, valid, CANARY) for one in inputs]
    read = []
    for one, ended in zip(inputs, in_children(looks, seconds=PATIENCE, memory=MEMORY), strict=True):
        outcome, reason = judge(ended, one.expected)
        tally.n_inputs += 1
        tally.note(one, outcome, reason, ended)
        read += [one] if outcome == "read" else []
        if one.number * options.probes // options.inputs != (one.number + 1) * options.probes // options.inputs:
            _probe(one, outcome, tally)
    wanted = options.through * tally.n_inputs // options.inputs  # so far: from all over the inputs
    read = read[: max(0, wanted - sum(tally.carried.values()))]
    sides: list[Side] = ["query" if one.number % 2 else "reference" for one in read]
    carries = [
        partial(fuzz_look.carry, one.path, valid, side, options.top_genes, CANARY)
        for one, side in zip(read, sides, strict=True)
    ]
    for one, ended in zip(read, in_children(carries, seconds=6 * PATIENCE, memory=MEMORY), strict=True):
        outcome, reason = judge(ended, "any" if one.expected == "read" else one.expected, passed=True)
        tally.carried[outcome] += 1
        tally.took(ended)
        if outcome == "fault":
            tally.fault(f"{one.name}, prepared: {reason}", one)
    if options.faulty:
        options.faulty.mkdir(parents=True, exist_ok=True)
        for path in tally.faulty:
            shutil.copyfile(path, options.faulty / path.name)
        tally.faulty.clear()


def make(folder: Path, kind: str, bases: dict[str, Path], seed: int, number: int) -> Input:
    """Write an input of one kind; some of them are spoilt in a second way."""
    rng = np.random.default_rng([seed, number])
    change, expected = KINDS[kind]
    layouts = list(SPARSE if kind.startswith(("indptr", "indices")) else bases)
    layout = layouts[int(rng.integers(len(layouts)))]
    path = folder / f"input{number}.h5ad"
    shutil.copyfile(bases[layout], path)
    if kind in BYTES:
        _spoil_bytes(path, kind, rng)
    else:
        with h5py.File(path, "r+") as file:
            change(file, rng)
        if rng.random() < 0.15:
            _spoil_bytes(path, list(BYTES)[int(rng.integers(len(BYTES)))], rng)
            expected = "no matter"
    return Input(number, path, f"{kind} ({layout}, seed {seed}, input {number})", expected)


def _spoil_bytes(path: Path, kind: str, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    BYTES[kind][0](content, rng)
    path.write_bytes(content)


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
    words = [line.partition(" ") for line in ended.told]
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


def _probe(one: Input, outcome: str, tally: Tally) -> None:
    """Let the app's own probe look too: it has to say the same."""
    try:
        probe.probe(one.path, patience=3 * PATIENCE)
        passed = True
    except InputError:
        passed = False
    if passed != (outcome == "read") and outcome != "fault":
        tally.fault(f"the probe {'passed' if passed else 'refused'} what was {outcome}: {one.name}", one)


def describe(tally: Tally, seconds: float) -> str:
    """The section of results.md."""
    carried = f"{sum(tally.carried.values()):,} of those that were read"
    most = f"{tally.slowest:.1f} s, and the largest process {tally.peak_bytes / 2**20:,.0f} MiB"
    head = (
        f"{tally.n_inputs:,} spoilt files of {len(KINDS)} kinds went the way of an upload; "
        f"{carried} went on through prepare beside a sound file. Faults (a traceback, an unclear message, a file read "
        "otherwise than anndata reads it, something opened outside, no end after the probe, or another answer of the "
        f"app's own probe): **{len(tally.faults)}**. {seconds:,.0f} s in all; the slowest look that ended took {most}."
    )
    rows = [(name, f"{n:,}", f"{tally.carried[name]:,}") for name, n in tally.outcomes.most_common()]
    rows += [(name, "0", f"{n:,}") for name, n in tally.carried.items() if name not in tally.outcomes]
    reasons = [(reason.replace("|", "/"), f"{n:,}") for reason, n in tally.reasons.most_common(25)]
    return "\n\n".join([head, table(["outcome", "inputs", "prepared"], rows), table(["why", "inputs"], reasons)])


if __name__ == "__main__":
    sys.exit(main())
