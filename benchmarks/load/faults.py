"""What survives kills, a full disk, a clock that goes back, damage: ``python -m benchmarks.load.faults``, 45 minutes.

The real app and real workers on tiny data. SIGKILL hits the app, a worker or both at random moments; after each, what
was ever finished is compared bit for bit, the app is restarted as needed and looked at, and the queue must go on.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.fault_home import FaultHome, fault_home
from benchmarks.load.fault_scenarios import SCENARIOS
from benchmarks.load.visitor import wait_until
from benchmarks.tables import keep, table
from labeltransfer.runs.records.run import STARTUP_GRACE, Run

TARGETS = ("app", "worker", "app and worker")
LONGEST_WAIT = 20.0
"""Seconds between a look and the next kill, at most; half of the waits take less than an eighth of it, so that
beginnings are hit as well as trainings."""
AT_ONCE = 2
"""Runs that are queued or running."""
DRAIN = STARTUP_GRACE + 240
"""Seconds for the last runs, once nothing is killed any more."""


@dataclass
class Tally:
    """What the kills did."""

    kills: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    started: int = 0
    lost: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    page_errors: list[str] = field(default_factory=list)
    seconds_to_fail: list[float] = field(default_factory=list)


def stuck_runs(home: FaultHome) -> list[Run]:
    """Runs that show as queued or running though no worker has them and the grace is over."""
    found = []
    for run in home.store.runs():
        status = run.status()
        late = time.time() - status.created > STARTUP_GRACE + 5
        if not status.over and not run.has_worker() and (status.state == "running" or late):
            found.append(run)
    return found


def kill(home: FaultHome, target: str, rng: random.Random, tally: Tally) -> None:
    """Kill, and wait until what was killed shows as failed, if its worker had begun."""
    workers = home.workers()
    victim = rng.choice(sorted(workers)) if workers and target != "app" else ""
    if "app" in target:
        home.kill_app()
    tally.kills[target] += 1
    if not victim:
        tally.stages["no worker was hit"] += 1
        return
    run = home.store.run(victim)
    workers[victim].kill()
    wait_until(lambda: victim not in home.workers(), 10, every=0.02)
    status = run.status()
    tally.stages[status.stage or ("waiting for its turn" if status.heartbeat else "just started")] += 1
    if status.heartbeat:
        since = time.monotonic()
        if wait_until(lambda: run.status().over, 10, every=0.02):
            tally.seconds_to_fail.append(time.monotonic() - since)
        else:
            tally.stuck.add(run.id)


def kill_repeatedly(home: FaultHome, n_kills: int, *, seed: int, seconds: float) -> Tally:
    """Kill again and again, and begin no more kills after some time."""
    end = time.monotonic() + seconds
    rng, tally = random.Random(seed), Tally()
    targets = [TARGETS[i % len(TARGETS)] for i in range(n_kills)]
    rng.shuffle(targets)
    seeds = iter(range(1, 10**6))
    wanted: list[int] = []  # seeds of runs that were killed, to be tried again: finished stages are reused
    asked: dict[str, int] = {}
    for number, target in enumerate(targets, 1):
        if time.monotonic() > end:
            break
        home.ensure_app()
        home.remember_finished()
        finished = sorted(home.digests)
        shown = Run(home.runs / rng.choice(finished)) if finished else None
        tally.page_errors += home.look(("runs", "explore") if shown and number % 3 == 0 else ("runs",), shown)
        live = [run for run in home.store.runs() if not run.status().over]
        for run_id, run_seed in list(asked.items()):
            if home.store.run(run_id).status().state == "failed":
                wanted.append(run_seed)
                del asked[run_id]
        while len(live) < AT_ONCE:
            run_seed = wanted.pop(0) if wanted else next(seeds)
            run = home.start_run(run_seed)
            asked[run.id] = run_seed
            live.append(run)
            tally.started += 1
        time.sleep(LONGEST_WAIT * rng.random() ** 3)
        kill(home, target, rng, tally)
        tally.lost |= set(home.lost())
        tally.stuck |= {run.id for run in stuck_runs(home)}
        if number % 10 == 0:
            print(
                f"{number} kills, {tally.started} runs started, {len(home.digests)} done, lost {len(tally.lost)}, "
                f"stuck {len(tally.stuck)}, errors on pages {len(tally.page_errors)}",
                flush=True,
            )
    drain(home, tally)
    return tally


def drain(home: FaultHome, tally: Tally) -> None:
    """Let the queue go on without kills: every run ends, every lock is free, every finished run opens."""
    home.ensure_app()
    last = home.start_run(10**6)
    tally.started += 1
    wait_until(lambda: all(run.status().over for run in home.store.runs()), DRAIN, every=1.0)
    tally.stuck |= {run.id for run in home.store.runs() if not run.status().over}
    if last.status().state != "done":
        tally.stuck.add(last.id)
    home.remember_finished()
    tally.lost |= set(home.lost())
    for lock in (home.home / "locks").glob("*.lock"):
        with home.store.lock(lock.stem).acquire(timeout=5):
            pass
    home.store.collect_garbage()
    half_built = [folder.name for folder in home.store.stages.iterdir() if folder.name.startswith(".")]
    tally.page_errors += [f"left half-built: {name}" for name in half_built]
    for run_id in home.digests:
        tally.page_errors += home.look(("explore", "compare", "export"), Run(home.runs / run_id))


def as_markdown(tally: Tally, home: FaultHome, minutes: float) -> str:
    """The figures as Markdown."""
    states = Counter(run.status().state for run in home.store.runs())
    slowest = f"{max(tally.seconds_to_fail):.2f} s" if tally.seconds_to_fail else "none was hit"
    rows = [
        ("kills", f"{sum(tally.kills.values())}: " + ", ".join(f"{n} of {what}" for what, n in tally.kills.items())),
        ("a worker was hit in", ", ".join(f"{stage} {n}" for stage, n in tally.stages.most_common())),
        ("runs started by the button on Train", tally.started),
        ("how they ended", ", ".join(f"{n} {state}" for state, n in states.most_common())),
        ("finished results lost (of those ever done, any bit)", f"**{len(tally.lost)}** of {len(home.digests)}"),
        ("stuck runs", f"**{len(tally.stuck)}**"),
        ("errors and tracebacks on pages, things left over", f"**{len(tally.page_errors)}**"),
        ("a killed run showed as failed after, at most", slowest),
        ("minutes", f"{minutes:.0f}"),
    ]
    return table(("", "counted"), rows)


def main() -> None:
    """Kill, try the scenarios, keep the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=120, help="begin no more kills after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", nargs="*", choices=list(SCENARIOS), default=list(SCENARIOS))
    asked = parser.parse_args()
    os.environ.pop("LABELTRANSFER_HOME", None)
    if asked.scenarios:
        rows = []
        for name in asked.scenarios:
            with tempfile.TemporaryDirectory(prefix="faults-") as folder:
                told_of, good = SCENARIOS[name](Path(folder).resolve())
            told_of = told_of.replace("\\", "").replace(folder, "…")
            rows.append((name, told_of, "holds" if good else "**does not hold**"))
            print(*rows[-1], sep=" | ", flush=True)
        text = "Each with the real app and real workers on 240 simulated cells.\n\n"
        command = "python -m benchmarks.load.faults --kills 0"
        keep(
            "Faults: disk, clock, two apps, damage",
            command,
            text + table(("fault", "what was done and seen", ""), rows),
        )
    if asked.kills:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, fault_home(Path(folder).resolve()) as home:
            tally = kill_repeatedly(home, asked.kills, seed=asked.seed, seconds=60 * asked.minutes)
            text = as_markdown(tally, home, (time.monotonic() - began) / 60)
            for what in (*sorted(tally.lost), *sorted(tally.stuck), *tally.page_errors[:20]):
                print("seen:", what, flush=True)
        intro = (
            f"SIGKILL at random moments (seed {asked.seed}) to the app, to one worker or to both, with {AT_ONCE} runs "
            "queued or running on 240 simulated cells. After each kill the artefacts of every finished run are "
            "compared bit for bit, the app is restarted where it was hit, and its Runs page opened, every third time "
            "also a finished run on Explore; at the end every finished run on Explore, Compare and Export.\n\n"
        )
        keep(
            "Faults: killed at random",
            f"python -m benchmarks.load.faults --kills {asked.kills} --seed {asked.seed} --scenarios",
            intro + text,
        )


if __name__ == "__main__":
    main()
