"""Which threads are never much worse than the best: ``python -m benchmarks.threads`` (three minutes).

A training step by number of threads and waiting policy of OpenMP, each in a process of its own, on a machine that is
otherwise idle and beside a process that keeps one core busy, as an app that draws does.
"""

import argparse
import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.report import keep, spread, table

STEPS = """
import sys, time, tempfile, warnings
from pathlib import Path
import torch
warnings.filterwarnings("ignore")
torch.set_num_threads(int(sys.argv[1]))
from benchmarks.epochs import new_scvi
from benchmarks.pairs import find_pair, load, split
from labeltransfer.models.resident import ResidentCounts
from labeltransfer.models.speed import train
from labeltransfer.models.tasks import ScviTask
from labeltransfer.presets import Pace
model = new_scvi(load(find_pair(sys.argv[2], Path(sys.argv[3]))))
rows = split(model.adata)
task = ScviTask(model.module, ResidentCounts.of_model(model), rows[0], rows[1])
seconds = []
train(task, Pace(6, 128, 1e-3, kl_warmup=400), on_epoch=lambda epoch: seconds.append(epoch.seconds))
print("ms", min(seconds[1:]) / (len(rows[0]) / 128) * 1000, sorted(seconds[1:])[2] / (len(rows[0]) / 128) * 1000)
"""
BUSY = "while True: pass"


def step_ms(threads: int, policy: str, pair: str, scratch: str) -> float:
    """Milliseconds of a training step of 128 cells, the median of five epochs, in a process of its own."""
    environment = os.environ | {"OMP_WAIT_POLICY": policy}
    command = [sys.executable, "-c", STEPS, str(threads), pair, scratch]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return float(output.rsplit("ms", 1)[1].split()[1])


def main() -> None:
    """Time every setting in turn, alone and beside a busy core, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pair", default="baron")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    settings = [(1, "PASSIVE"), (cores, "ACTIVE"), (cores, "PASSIVE")]
    found: dict[tuple[int, str, bool], list[float]] = {}
    with TemporaryDirectory() as scratch:
        for _ in range(options.repeats):
            for busy in (False, True):
                neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
                try:
                    for threads, policy in settings:
                        ms = step_ms(threads, policy, options.pair, scratch)
                        found.setdefault((threads, policy, busy), []).append(ms)
                finally:
                    for neighbour in neighbours:
                        neighbour.kill()
    best = {busy: min(median(v) for k, v in found.items() if k[2] == busy) for busy in (False, True)}
    lines = []
    for threads, policy in settings:
        alone, beside = found[threads, policy, False], found[threads, policy, True]
        worst = max(median(alone) / best[False], median(beside) / best[True])
        lines.append([threads, policy.lower(), spread(alone, ".1f"), spread(beside, ".1f"), f"{worst:.2f} ×"])
    header = ["threads", "waiting", "alone, ms a step", "beside a busy core, ms a step", "at worst, of the best"]
    about = f"Steps of 128 cells of the {options.pair} pair; median and spread of {options.repeats} processes."
    keep("Threads", "python -m benchmarks.threads", f"{about}\n\n{table(header, lines)}")


if __name__ == "__main__":
    main()
