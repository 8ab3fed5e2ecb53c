"""A long queue: ``python -m benchmarks.load.queue``, about five minutes.

A thousand runs of twenty people wait, with workers that do next to nothing; the first of them are served. Seen are the
seconds that the device is idle between two runs, the memory of all processes, and whether the order is the fair one.
"""

import argparse
import os
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

import psutil

from benchmarks.load.visitor import wait_until
from benchmarks.tables import keep, table
from labeltransfer.params import run_params
from labeltransfer.runs.queue.dispatching import dispatcher_files, ensure_dispatcher
from labeltransfer.runs.queue.liveness import cancel
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.known_process import KnownProcess

WORKER = "benchmarks.load.brief_worker"
N_PEOPLE = 20
PATIENCE = 1800.0
"""Seconds for all that are to be served."""


def fill(store: Store, folder: Path, *, n_waiting: int, n_past: int) -> list[Run]:
    """Make runs that are over and runs that wait, of people at random; nothing begins yet."""
    rng = random.Random(0)
    for side in "rq":
        (folder / f"{side}.h5ad").write_bytes(b"x")
    params = run_params({"reference": {"path": f"{folder}/r.h5ad"}, "query": {"path": f"{folder}/q.h5ad"}})
    params = params.model_copy(update={"device": "cpu"})
    long_ago = time.time() - 86400
    for _ in range(n_past):
        over = Status(state="done", created=long_ago, started=long_ago, finished=long_ago + rng.random() * 3600)
        store.create(params, f"person {rng.randrange(N_PEOPLE)}").write_status(over)
    (store.root / "queue").mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in range(n_waiting):
        run = store.create(params.model_copy(update={"seed": seed}), f"person {rng.randrange(N_PEOPLE)}")
        run.place_in_queue.touch()
        runs.append(run)
    return runs


def family(store: Store) -> tuple[int, int]:
    """Number and resident bytes of the dispatcher and all that it has started."""
    known = KnownProcess.read(dispatcher_files(store)[1])
    process = known.process() if known else None
    if process is None:
        return 0, 0
    n_bytes = []
    for one in (process, *process.children(recursive=True)):
        try:
            n_bytes.append(one.memory_info().rss)
        except psutil.Error:
            continue
    return len(n_bytes), sum(n_bytes)


def main() -> None:
    """Fill a home, serve a part of the queue, cancel the rest, keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--past", type=int, default=200)
    parser.add_argument("--served", type=int, default=80)
    asked = parser.parse_args()
    os.environ.pop("LABELTRANSFER_HOME", None)
    with tempfile.TemporaryDirectory(prefix="queue-") as name:
        folder = Path(name).resolve()
        store = Store(folder / "home")
        runs = fill(store, folder, n_waiting=asked.waiting, n_past=asked.past)
        order = waiting_runs(store)
        ensure_dispatcher(store, WORKER)
        sizes: list[tuple[int, int]] = []

        def enough() -> bool:
            sizes.append(family(store))
            return sum(not run.in_queue for run in runs) > asked.served

        wait_until(enough, PATIENCE, every=1.0)
        began = time.monotonic()
        for run in runs:
            cancel(run)
        cancelled = time.monotonic() - began
        wait_until(lambda: all(run.status().over for run in runs), PATIENCE, every=1.0)
        states = {run.id: run.written_status() for run in runs}
        served = sorted((run for run in runs if states[run.id].started), key=lambda run: states[run.id].started)
        done = [states[run.id] for run in served if states[run.id].state == "done"]
        idle = [after.started - before.finished for before, after in pairwise(done)]
        # What still waited was cancelled one after the other, so what began meanwhile had other rivals.
        as_expected = served[: asked.served] == order[: asked.served]
        twice = sum(len(run.events("start")) > 2 for run in runs)
        if known := KnownProcess.read(dispatcher_files(store)[1]):
            known.kill()
    rows = [
        ("runs served of those that waited", f"{len(done)} of {asked.waiting}, with {asked.past} past runs"),
        ("the device was idle between two runs, median", f"{median(idle):.2f} s"),
        ("95th percentile, longest", f"{quantiles(idle, n=20)[-1]:.2f} s, {max(idle):.2f} s"),
        ("order as `in_turn` says beforehand", "yes" if as_expected else "**no**"),
        ("runs begun twice", twice),
        ("processes at once, with dispatcher, worker and spare, at most", max(n for n, _ in sizes)),
        ("memory of all of them, at most", f"{max(n_bytes for _, n_bytes in sizes) / 1e6:.0f} MB"),
        ("all that still waited cancelled in", f"{cancelled:.1f} s"),
    ]
    text = (
        f"One device; {asked.waiting:,} runs of {N_PEOPLE} people wait, with workers that do nothing for a second. "
        "Idle is the time from the end that one run wrote to the start that the next one wrote.\n\n"
    )
    keep("Load: a long queue", "python -m benchmarks.load.queue", text + table(("", "seen"), rows))


if __name__ == "__main__":
    main()
