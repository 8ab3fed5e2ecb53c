"""Faults that are no kill: a full disk, a home that cannot be written, a clock that goes back, two apps, damage.

Each scenario takes an empty folder and gives what was seen, in words, and whether that is as it should be.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from benchmarks.load.fault_home import digests_of, fault_home
from benchmarks.load.visitor import Visitor, wait_until
from labeltransfer.runs.records.run import Run
from tests.support.browser import Server

PATIENCE = 300.0
"""Seconds that a run over tiny data may take on a busy machine."""

PAGES = ("data", "preprocess", "train", "explore", "compare", "export", "runs")

Seen = tuple[str, bool]

FALSE_CLOCK = """
import time
from pathlib import Path
_real, _file = time.time, Path(__file__).with_name("offset")

def _shifted():
    try:
        return _real() + float(_file.read_text())
    except (OSError, ValueError):
        return _real()

time.time = _shifted
"""
"""As ``sitecustomize`` of every Python process of a home: shifts ``time.time`` by the seconds in a file."""


def finish(run: Run) -> str:
    """Wait until a run is over; returns its state."""
    wait_until(lambda: run.status().over, PATIENCE)
    return run.status().state


def tracebacks(errors: list[str]) -> list[str]:
    """Of what pages showed as errors, what is no sentence of ours."""
    return [error for error in errors if "exception" in error]


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A separate file system in memory; needs the right to mount."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(folder: Path) -> Seen:
    """The disk fills up to the last byte while a run is running."""
    with small_disk(folder / "disk", 256) as disk, fault_home(folder, disk / "home") as home:
        done = home.start_run(1)
        first = finish(done)
        home.remember_finished()
        draft = home.draft(3)
        full = home.start_run(2)
        wait_until(lambda: full.status().stage == "integrate", PATIENCE)
        fill(disk)
        state, why = finish(full), full.status().error
        fill(disk)
        errors = home.look(PAGES, done)
        try:
            refused = f"started run {home.press_start(draft).id}"
        except RuntimeError as error:
            refused = str(error)
        (disk / FILLER).unlink()
        again = finish(home.start_run(2))
        good = (first, state, again) == ("done", "failed", "done") and "free some space" in why and not home.lost()
        good = good and not tracebacks([*errors, refused]) and "space" in refused
        return (
            f'tmpfs filled to the last byte while scVI trained: the run {state} ("{why}"); with no byte left '
            f"{len(PAGES)} pages opened with {len(tracebacks(errors))} tracebacks, and a new run was refused "
            f'("{refused}"); with room again the same run is {again}; finished results lost: {len(home.lost())}',
            good,
        )


FILLER = "filler"


def fill(disk: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), (disk / FILLER).open("ab", buffering=0) as file:
        while file.write(bytes(1 << 20)) == 1 << 20:
            pass
        while file.write(bytes(4096)):
            pass


@contextmanager
def read_only(home: Path) -> Iterator[None]:
    """Let nothing more be written in a folder, also by root; files that are open already can be."""
    subprocess.run(["mount", "--bind", str(home), str(home)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(home)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def unwritable_home(folder: Path) -> Seen:
    """The home becomes read-only while a run trains."""
    with fault_home(folder) as home:
        done = home.start_run(1)
        first = finish(done)
        home.remember_finished()
        hit = home.start_run(2)
        wait_until(lambda: hit.status().stage == "integrate", PATIENCE)
        with read_only(home.home):
            errors = home.look(PAGES, done)
            wait_until(lambda: not home.workers(), PATIENCE)
        state = finish(hit)
        again = finish(home.start_run(2))
        good = (first, state, again) == ("done", "failed", "done") and not home.lost()
        good = good and {error.partition(":")[0] for error in errors} == set(PAGES) and not tracebacks(errors)
        return (
            f"read-only from the training of scVI on: {len(errors)} sentences and {len(tracebacks(errors))} tracebacks "
            f"on {len(PAGES)} pages, the run {state}; writable again, the same run is {again}; finished results lost: "
            f"{len(home.lost())}",
            good,
        )


def clock_goes_back(folder: Path) -> Seen:
    """The clock goes back by an hour while a run is running and another one waits."""
    clock = folder / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(FALSE_CLOCK)
    with fault_home(folder, PYTHONPATH=str(clock)) as home:
        (clock / "offset").write_text("0")
        running, waiting = home.start_run(1), home.start_run(2)
        wait_until(lambda: running.status().state == "running" and waiting.in_queue, PATIENCE)
        (clock / "offset").write_text("-3600")
        later = home.start_run(3)
        states = [finish(run) for run in (running, waiting, later)]
        errors = home.look(("runs", "train", "explore"), running)
        good = states == ["done"] * 3 and not errors
        return (
            "a false clock, an hour back for the app and all workers: a running one, one that waited and one asked "
            f"for afterwards are {', '.join(states)}; errors on pages: {len(errors)}",
            good,
        )


def two_apps(folder: Path) -> Seen:
    """Two apps on one home, each with its own runs; one is killed."""
    with fault_home(folder) as home:
        other = Server(home.home).start()
        try:
            runs = [home.start_run(1), home.start_run(2, server=other), home.start_run(1, server=other)]
            seen = [_listed(server) for server in (home.server, other)]
            errors = home.look(("train",), runs[1]) + home.look(("train",), runs[0], server=other)
            other.stop(kill=True)
            states = [finish(run) for run in runs]
            home.remember_finished()
            made = [e["stage"] for run in runs for e in run.events("start") if not e["reused"]]
            errors += home.look(PAGES, runs[1])
        finally:
            other.stop(kill=True)
        twice = digests_of(runs[0]) == digests_of(runs[2])
        good = states == ["done"] * 3 and not errors and seen[0] == seen[1] and twice and made.count("evaluate") == 2
        return (
            f"runs asked for from both, two of them the same: {', '.join(states)}, the same one made once; the killed "
            f"app's runs went on; errors on pages: {len(errors)}",
            good,
        )


def damaged_artefact(folder: Path) -> Seen:
    """One bit of the largest file of every stage turns over; a run with the same settings is asked for."""
    with fault_home(folder) as home:
        first = home.start_run(1)
        states = [finish(first)]
        whole, hurt = digests_of(first), []
        for stage in first.stage_keys():
            files = [path for path in first.artefact(stage).rglob("*") if path.is_file() and path.suffix != ".json"]
            largest = max(files, key=lambda path: path.stat().st_size)
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 1
            largest.write_bytes(content)
            hurt.append(stage)
        errors = home.look(PAGES, first)
        again = home.start_run(1)
        states.append(finish(again))
        log = (again.folder / "log.txt").read_text()
        found = [stage for stage in hurt if f"Stage {stage} was damaged on disk" in log]
        with Visitor(home.server.port) as visitor:
            counts = []
            for run in (first, again):
                visitor.open("train", run=run.id)
                counts.append(visitor.prose().count("was damaged on disk and made anew"))
        after = home.look(PAGES, first)
        differ = [name for name, digest in digests_of(first).items() if whole.get(name) != digest]
        results = [name for name in differ if not name.endswith((".json", ".h5ad", ".pt"))]
        good = states == ["done"] * 2 and found == hurt and counts == [len(hurt)] * 2 and not after and not results
        good = good and bool(errors) and not tracebacks(errors)
        return (
            f"one bit in each of {len(hurt)} stages: pages said so ({len(tracebacks(errors))} tracebacks), the next "
            f"run found {len(found)} of {len(hurt)} and made them anew, both runs say so and open; of tables and "
            f"arrays {len(results)} differ from before",
            good,
        )


def _listed(server: Server) -> int:
    """Runs in the table of the Runs page."""
    with Visitor(server.port) as visitor:
        visitor.open("runs")
        return len(pa.ipc.open_stream(visitor.tables()[0]).read_all())


SCENARIOS: dict[str, Callable[[Path], Seen]] = {
    "full disk": full_disk,
    "unwritable home": unwritable_home,
    "clock goes back": clock_goes_back,
    "two apps on one home": two_apps,
    "damaged artefact": damaged_artefact,
}
