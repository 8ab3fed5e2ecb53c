"""Who shares a training step among the cores: ``python -m benchmarks.speed.threads`` (four minutes).

Ours (``models/fast/decoder.py``: each core takes its own cells through the widest layers) against one core alone and
torch's own threads, by OpenMP's policy of waiting; each in a separate process, on a machine that is otherwise idle
and next to a process that keeps one core busy, as an app that draws does.
"""

import argparse
import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.tables import keep, spread, table
from labeltransfer.processes import WAITING

STEPS = """
import os, sys, warnings
from pathlib import Path
import torch
warnings.filterwarnings("ignore")
from benchmarks.speed.epochs import new_scvi
from benchmarks.pairs import find_pair, load, split
from labeltransfer.models import cores
from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.loop import train
from labeltransfer.models.fast.tasks import ScviTask
from labeltransfer.presets import Pace
who, pair, scratch = sys.argv[1:]
if who != "ours":
    cores.MOST_CORES = 1
if who == "torch":
    torch.set_num_threads(os.cpu_count())
    torch.set_num_threads = lambda n_threads: None
model = new_scvi(load(find_pair(pair, Path(scratch))))
rows = split(model.adata)
task = ScviTask(model.module, DeviceCounts.of_model(model), rows[0], rows[1])
seconds = []
train(task, Pace(6, 128, 1e-3, kl_warmup=400), on_epoch=lambda epoch: seconds.append(epoch.seconds))
print("ms", sorted(seconds[1:])[2] / (len(rows[0]) / 128) * 1000)
"""
BUSY = "while True: pass"
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
SETTINGS = {
    "ours": ("ours", WAITING),
    "one core": ("one", WAITING),
    "torch's threads, waiting as a worker's": ("torch", WAITING),
    "torch's threads, waiting asleep": ("torch", ASLEEP),
    "torch's threads, as OpenMP has it": ("torch", {}),
}


def step_ms(who: str, waiting: dict[str, str], pair: str, scratch: str) -> float:
    """Milliseconds of a training step of 128 cells, the median of five epochs, in a separate process."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING} | waiting
    command = [sys.executable, "-c", STEPS, who, pair, scratch]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return float(output.rsplit("ms", 1)[1])


def main() -> None:
    """Time every setting in turn, alone and next to a busy core, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pair", default="baron")
    options = parser.parse_args()
    found: dict[tuple[str, bool], list[float]] = {}
    with TemporaryDirectory() as scratch:
        for _ in range(options.repeats):
            for busy in (False, True):
                neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
                try:
                    for name, (who, waiting) in SETTINGS.items():
                        found.setdefault((name, busy), []).append(step_ms(who, waiting, options.pair, scratch))
                finally:
                    for neighbour in neighbours:
                        neighbour.kill()
    best = {busy: min(median(found[name, busy]) for name in SETTINGS) for busy in (False, True)}
    lines = []
    for name in SETTINGS:
        alone, loaded = found[name, False], found[name, True]
        worst = max(median(alone) / best[False], median(loaded) / best[True])
        lines.append([name, spread(alone, ".1f"), spread(loaded, ".1f"), f"{worst:.2f} ×"])
    header = ["who shares a step", "alone, ms a step", "next to a busy core, ms a step", "at worst, of the best"]
    about = f"Steps of 128 cells of the {options.pair} pair; median and spread of {options.repeats} processes."
    keep("A step among the cores", "python -m benchmarks.speed.threads", f"{about}\n\n{table(header, lines)}")


if __name__ == "__main__":
    main()
