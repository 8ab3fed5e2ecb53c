"""What survives kills, a full disk, a clock that goes back, damage: ``python -m benchmarks.load.faults``, 70 minutes.

The real app and real workers on tiny data. At random moments the app, a worker or the dispatcher of the queue is
killed, stopped (SIGSTOP) or asked to end (SIGTERM), or a file of a run is cut; after each, what was ever finished is
compared bit for bit, the app is restarted as needed and looked at, and the queue must go on.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.fault_home import FaultHome, fault_home
from benchmarks.load.fault_scenarios import SCENARIOS
from benchmarks.load.visitor import wait_until
from benchmarks.tables import keep, table
from labeltransfer.runs.queue.liveness import cancel
from labeltransfer.runs.records.run import STARTUP_GRACE, Run

TARGETS = (
    *("app killed", "worker killed", "app and worker killed", "dispatcher killed", "worker stopped"),
    *("worker terminated", "dispatcher stopped", "file cut"),
)
CUT = ("status.json", "stages.json", "events.jsonl", "worker.json", "params.json", "log.txt")
"""Files of a run, of which one is cut."""

LONGEST = 60.0
"""Seconds after which what does not go on counts as stuck."""

LONGEST_WAIT = 20.0
"""Seconds between a look and the next kill, at most; half of the waits take less than an eighth of it, so that
beginnings are hit as well as trainings."""
AT_ONCE = 2
"""Runs that are queued or running."""
DRAIN = STARTUP_GRACE + 240
"""Seconds for the last runs, once nothing is killed any more."""


@dataclass
class Tally:
    """What the faults did."""

    strikes: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    started: int = 0
    lost: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    page_errors: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def stuck_runs(home: FaultHome) -> list[Run]:
    """Runs that nobody has, or that have given no sign of life for too long."""
    found = []
    for run in home.store.runs():
        status = run.status()
        late = time.time() - status.created > STARTUP_GRACE + 5
        lost = not run.has_worker() and not run.in_queue and (status.state == "running" or late)
        silent = status.heartbeat and time.time() - status.heartbeat > LONGEST
        if not status.over and (lost or silent):
            found.append(run)
    return found


def strike(home: FaultHome, target: str, rng: random.Random, tally: Tally) -> None:
    """Do what a target says, and wait until what it hit is over, if its worker had begun."""
    tally.strikes[target] += 1
    if target.startswith("app"):
        home.kill_app()
    if target.startswith("dispatcher"):
        _strike_dispatcher(home, target, tally)
    if target == "file cut":
        tally.cut[cut_file(home, rng)] += 1
    if "worker" not in target:
        return
    workers = home.workers()
    if not workers:
        tally.stages["no worker was hit"] += 1
        return
    victim = rng.choice(sorted(workers))
    run = home.store.run(victim)
    status = run.status()
    since = time.monotonic()
    if target == "worker stopped":
        workers[victim].suspend()
        cancel(run)  # as a person does who reads that it is silent
    elif target == "worker terminated":
        workers[victim].terminate()
    else:
        workers[victim].kill()
    tally.stages[status.stage or ("waiting for its turn" if status.heartbeat else "just started")] += 1
    if wait_until(lambda: run.status().over or run.in_queue, LONGEST, every=0.02):
        tally.seconds[target].append(time.monotonic() - since)
    else:
        tally.stuck.add(run.id)


def _strike_dispatcher(home: FaultHome, target: str, tally: Tally) -> None:
    """Kill or stop it; of a stopped one, wait until the looks of a page have brought another."""
    known = home.dispatcher()
    process = known.process() if known else None
    if process is None:
        tally.stages["no dispatcher was hit"] += 1
        return
    since = time.monotonic()
    if target == "dispatcher killed":
        process.kill()
        return
    process.suspend()

    def replaced() -> bool:
        home.look(("runs",))
        return home.dispatcher() != known

    if wait_until(replaced, LONGEST, every=1.0):
        tally.seconds[target].append(time.monotonic() - since)
    else:
        tally.stuck.add("dispatcher")


def cut_file(home: FaultHome, rng: random.Random) -> str:
    """Cut a file of a run that is not done at a random byte; returns its name."""
    runs = [run for run in home.store.runs() if run.id not in home.digests and run.written_status().state != "done"]
    files = [run.folder / name for run in runs for name in CUT if (run.folder / name).is_file()]
    if not files:
        return "none was there"
    path = rng.choice(files)
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])
    return path.name


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
            if home.store.run(run_id).status().state in ("failed", "cancelled"):
                wanted.append(run_seed)
                del asked[run_id]
        while len(live) < AT_ONCE:
            run_seed = wanted.pop(0) if wanted else next(seeds)
            run = home.start_run(run_seed)
            asked[run.id] = run_seed
            live.append(run)
            tally.started += 1
        time.sleep(LONGEST_WAIT * rng.random() ** 3)
        strike(home, target, rng, tally)
        tally.lost |= set(home.lost())
        tally.stuck |= {run.id for run in stuck_runs(home)}
        if number % 10 == 0:
            print(
                f"{number} faults, {tally.started} runs started, {len(home.digests)} done, lost {len(tally.lost)}, "
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
    wait_until(lambda: home.dispatcher() is None, LONGEST)
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
    slowest = ", ".join(f"{what} {max(seconds):.1f} s" for what, seconds in sorted(tally.seconds.items()))
    rows = [
        ("faults", f"{sum(tally.strikes.values())}: " + ", ".join(f"{n} {what}" for what, n in tally.strikes.items())),
        ("files that were cut", ", ".join(f"{name} {n}" for name, n in tally.cut.most_common()) or "none"),
        ("a worker was hit in", ", ".join(f"{stage} {n}" for stage, n in tally.stages.most_common())),
        ("runs started by the button on Train", tally.started),
        ("how they ended", ", ".join(f"{n} {state}" for state, n in states.most_common())),
        ("finished results lost (of those ever done, any bit)", f"**{len(tally.lost)}** of {len(home.digests)}"),
        (f"stuck for more than {LONGEST:.0f} s", f"**{len(tally.stuck)}**"),
        ("errors and tracebacks on pages, things left over", f"**{len(tally.page_errors)}**"),
        ("what was hit was over, or replaced, after at most", slowest),
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
                about, good = SCENARIOS[name](Path(folder).resolve())
            about = about.replace("\\", "").replace(folder, "…")
            rows.append((name, about, "holds" if good else "**does not hold**"))
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
            f"At random moments (seed {asked.seed}), with {AT_ONCE} runs queued or running on 240 simulated cells: "
            "SIGKILL to the app, to one worker, to both or to the queue's dispatcher; SIGSTOP to a worker, whose run "
            "is then cancelled, or to the dispatcher; SIGTERM to a worker; a file of a run that is not done cut at a "
            "random byte. After each the artefacts of every finished run are compared bit for bit, the app is "
            "restarted where it was hit, and its Runs page opened, every third time also a finished run on Explore; "
            "at the end every finished run on Explore, Compare and Export.\n\n"
        )
        keep(
            "Faults: killed, stopped and cut at random",
            f"python -m benchmarks.load.faults --kills {asked.kills} --seed {asked.seed} --scenarios",
            intro + text,
        )


if __name__ == "__main__":
    main()
