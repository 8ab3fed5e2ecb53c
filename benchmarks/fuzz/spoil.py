"""Spoil h5ad files and take them the way of an upload: each has to be refused in plain words or read right.

``python -m benchmarks.fuzz.spoil``; ``--inputs 200 --through 30`` for a short one, ``--only NAME --seed N`` for one
kind.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

# Before numpy: a copy of a process with threads can wait for ever for a lock that one of them held.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import h5py
import numpy as np

from benchmarks.fuzz import look
from benchmarks.fuzz.bases import N_GENES, SPARSE, write_bases
from benchmarks.fuzz.bytes import BYTES
from benchmarks.fuzz.child import Watch, in_children
from benchmarks.fuzz.hostile import HOSTILE, OUTSIDE, SECRETS
from benchmarks.fuzz.structure import STRUCTURE
from benchmarks.fuzz.tally import Input, Tally, describe, judge
from benchmarks.fuzz.values import VALUES
from benchmarks.tables import keep
from labeltransfer.data.intake import Summary, probe, read_summary
from labeltransfer.errors import InputError
from labeltransfer.params import Side

KINDS = VALUES | HOSTILE | STRUCTURE | BYTES
CANARY = "n0b0dy-may-read-this"
MEMORY = probe.MEMORY
ALL_GENES = 2000
BATCH = 50
"""Inputs that one child looks at, unless it dies of one."""
PATIENCE = 20.0
"""Seconds; the probe itself gives 60."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--through", type=int, default=1_000, help="inputs that go on through prepare")
    parser.add_argument("--probes", type=int, default=40, help="inputs that the app's own probe looks at as well")
    parser.add_argument("--top-genes", type=int, default=100, help=f"genes to choose of {N_GENES}")
    parser.add_argument("--minutes", type=float, default=120, help="make no more inputs after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of change")
    parser.add_argument("--faulty", type=Path, help="folder to keep the inputs in that show a fault")
    parser.add_argument("--keep", action="store_true", help="write the section of results.md")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(Path(folder), options)
    text = describe(tally, len(KINDS), time.monotonic() - begin)
    if options.keep:
        keep("Spoilt inputs", "python -m benchmarks.fuzz.spoil", text)
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
    _import_once(valid, options.top_genes)
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


def _import_once(valid: Summary, n_top_genes: int) -> None:
    """Do what the children will, so that they find imported what it takes; ranking itself would start threads here."""
    lines: list[str] = []
    look.look(valid.path, valid, CANARY, lines.append)
    look.carry(valid.path, valid, "query", ALL_GENES, CANARY, lines.append)
    if lines != ["passed", "read", "agrees", "carried", "agrees"]:
        raise AssertionError(f"a valid file gives {lines}")
    if n_top_genes < N_GENES:
        import_module("scanpy")
        import_module("skmisc.loess")


def _try(inputs: list[Input], valid: Summary, options: argparse.Namespace, tally: Tally) -> None:
    """Take some inputs the way of an upload, and those that are read, while more are wanted, through prepare."""
    looks = [partial(look.look, one.path, valid, CANARY) for one in inputs]
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
        partial(look.carry, one.path, valid, side, options.top_genes, CANARY)
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
    for attempt in range(20):
        with suppress(AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError):
            return _make(folder, kind, bases, number, seed, attempt)  # not every change fits every layout
    raise AssertionError(f"no input of kind '{kind}' could be made (seed {seed}, input {number})")


def _make(folder: Path, kind: str, bases: dict[str, Path], number: int, seed: int, attempt: int) -> Input:
    rng = np.random.default_rng([seed, number, attempt])
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


def _probe(one: Input, outcome: str, tally: Tally) -> None:
    """Let the app's own probe look too: it has to say the same."""
    try:
        probe.probe(one.path, patience=3 * PATIENCE)
        passed = True
    except InputError:
        passed = False
    if passed != (outcome == "read") and outcome != "fault":
        tally.fault(f"the probe {'passed' if passed else 'refused'} what was {outcome}: {one.name}", one)


if __name__ == "__main__":
    sys.exit(main())
