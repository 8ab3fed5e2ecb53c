"""What parts of the fast loop that lean on torch's or glibc's insides gain: ``python -m benchmarks.speed.ablation``.

Seconds of an epoch and of the whole job with each part off, against all of them on, in an order that chance gives anew
in each round. An epoch is timed in one process, in steps of 512 cells; a whole job is the command line with a new home.
Seconds are the processor's, of all cores together: other work on the machine changes them little. A part that gains
less than 5 % of a whole job is not worth its risk with the next release of torch.
"""

import argparse
import importlib
import importlib.abc
import importlib.util
import os
import random
import runpy
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any
from unittest.mock import patch

from benchmarks.pairs import PAIRS, find_pair, load
from benchmarks.tables import keep, table

LOOP = "labeltransfer.models.fast.loop"


def _torchs_adam(parameters: Any, lr: float) -> Any:
    """``torch.optim.Adam`` with the interface of the loop's own."""
    import torch

    class TorchsAdam(torch.optim.Adam):
        @property
        def lr(self) -> float:
            return float(self.param_groups[0]["lr"])

        @lr.setter
        def lr(self, value: float) -> None:
            self.param_groups[0]["lr"] = value

        def step(self) -> None:
            super().step()
            self.zero_grad()

    return TorchsAdam(list(parameters), lr=lr, eps=0.01, weight_decay=1e-6, fused=True)


OFF: dict[str, tuple[str, str, Any]] = {
    "adam": (LOOP, "Adam", _torchs_adam),
}
"""By part: a module's name for it, and what takes its place."""

PARTS = (*OFF, "import_scvi")


class _PatchedWhenImported(importlib.abc.MetaPathFinder):
    """Takes a part out of a module as soon as that is imported, and not earlier: import times stay as they are."""

    def __init__(self, module: str, name: str, other: Any) -> None:
        self.module, self.name, self.other = module, name, other

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            setattr(module, self.name, self.other)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


def run_without(part: str, arguments: list[str]) -> None:
    """The command line in this process, with a part off."""
    if part == "import_scvi":  # an import of the compiler before makes the other one plain
        importlib.import_module("torch._dynamo")
    elif part in OFF:
        sys.meta_path.insert(0, _PatchedWhenImported(*OFF[part]))
    sys.argv = ["labeltransfer", *arguments]
    runpy.run_module("labeltransfer", run_name="__main__", alter_sys=True)


def in_rounds(n_rounds: int, parts: Iterable[str], seconds_without: Callable[[str], float]) -> dict[str, list[float]]:
    """Seconds with all parts on and with each one off, once a round, each round in its own order."""
    seconds: dict[str, list[float]] = {part: [] for part in ("all on", *parts)}
    order = random.Random(0)
    for _ in range(n_rounds):
        for part in order.sample(list(seconds), len(seconds)):
            seconds[part].append(seconds_without(part))
        print({part: round(kept[-1], 3) for part, kept in seconds.items()}, flush=True)
    return seconds


def job_seconds(pair: str, n_rounds: int) -> dict[str, list[float]]:
    """Seconds of whole jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        job = ["run", *find_pair(pair, Path(scratch)).options(), "--preset", "fast", "--seed", "0"]

        def without(part: str) -> float:
            folder = tempfile.mkdtemp(dir=scratch)
            command = [sys.executable, "-m", "benchmarks.speed.ablation", "--without", part, "--", *job]
            home = {"LABELTRANSFER_HOME": f"{folder}/home"}
            before = os.times()
            subprocess.run(
                [*command, "--out", f"{folder}/out"], check=True, env=os.environ | home, stdout=subprocess.DEVNULL
            )
            after = os.times()
            return after.children_user + after.children_system - before.children_user - before.children_system

        return in_rounds(n_rounds, PARTS, without)


def epoch_seconds(pair: str, n_rounds: int) -> dict[str, dict[str, list[float]]]:
    """By model: seconds of epochs."""
    from benchmarks.speed.epochs import contenders

    with tempfile.TemporaryDirectory() as scratch:
        adata = load(find_pair(pair, Path(scratch)))
    seconds = {}
    for model, (_, epoch, _) in contenders(adata, "cpu", 512).items():

        def without(part: str, epoch: Callable[[], Any] = epoch) -> float:
            began = time.process_time()
            epoch_without(part, epoch)
            return time.process_time() - began

        epoch()  # the first time also loads and compiles
        seconds[model] = in_rounds(n_rounds, OFF, without)
    return seconds


def epoch_without(part: str, epoch: Callable[[], Any]) -> None:
    """An epoch with a part off."""
    if part not in OFF:
        epoch()
        return
    module, name, other = OFF[part]
    with patch.object(importlib.import_module(module), name, other):
        epoch()


def cell(seconds: dict[str, list[float]], part: str) -> str:
    """Median seconds without a part, and how much longer than with all that is, in the median over rounds."""
    if part not in seconds:
        return "–"
    longer = median(a / b - 1 for a, b in zip(seconds[part], seconds["all on"], strict=True))
    return f"{median(seconds[part]):.2f}" + ("" if part == "all on" else f" ({longer:+.1%})")


def main() -> None:
    """Time in turn, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=["pbmc"])
    parser.add_argument("--epochs", type=int, default=9, help="rounds of epochs")
    parser.add_argument("--jobs", type=int, default=4, help="rounds of whole jobs")
    parser.add_argument("--without", choices=["all on", *PARTS], help="run what follows -- with one part off")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.without:
        return run_without(options.without, options.arguments)
    warnings.filterwarnings("ignore")
    header, columns = ["off"], []
    for pair in options.pairs:
        for model, seconds in epoch_seconds(pair, options.epochs).items():
            header.append(f"{pair}: epoch of {model}, s")
            columns.append(seconds)
        if options.jobs:
            header.append(f"{pair}: whole job, s")
            columns.append(job_seconds(pair, options.jobs))
    rows = [[part, *(cell(seconds, part) for seconds in columns)] for part in ("all on", *PARTS)]
    about = (
        f"Medians of {options.epochs} epochs and {options.jobs} whole jobs, in brackets how much longer than with "
        "all on, in the median over rounds."
    )
    command = f"python -m benchmarks.speed.ablation --pairs {' '.join(options.pairs)}"
    keep("What single parts of the fast loop gain", command, f"{about}\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
