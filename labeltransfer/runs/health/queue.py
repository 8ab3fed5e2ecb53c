"""Checks of the queue, where an empty file named after a run keeps it waiting for a worker."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from labeltransfer.runs.health.finding import Finding
from labeltransfer.runs.queue.dispatching import dispatcher_files
from labeltransfer.runs.queue.liveness import settle
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.locks import lock_state
from labeltransfer.storage.records import is_there, printable
from labeltransfer.units import counted, shorten

ACCESS = os.R_OK | os.W_OK | os.X_OK


def queue(root: Path) -> Iterator[Finding]:
    """Records of runs that are gone or over, what is no record, and runs that wait where nothing serves them."""
    folder = root / "queue"
    if not is_there(folder):  # made when the first run waits
        yield Finding("Queue", "well", "No run waits.")
        return
    if not folder.is_dir() or not os.access(folder, ACCESS):
        way_out = "Give the folder to the app's user, or move away what is there in its place."
        yield Finding("Queue", "to do", f"{folder} is no folder that this user may change: no run can wait.", way_out)
        return
    found: dict[str, list[Path]] = {"odd": [], "gone": [], "over": [], "waiting": [], "begun": []}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):  # a file that is being written
            found[_kind(path)].append(path)
    if found["odd"]:
        about = f"{_list(found['odd'], 'thing')} in {folder} that no run has put there."
        yield Finding("Queue", "to do", about, "Delete it by hand: as long as it is there, the dispatcher never ends.")
    for kind in ("gone", "over"):
        if found[kind]:
            about = f"{_list(found[kind], 'record')} of runs that are {kind}."
            yield Finding("Queue", "to do", about, "--fix removes them.", _remover(found[kind], kind))
    if found["waiting"] and lock_state(dispatcher_files(Store(root))[0]) == "free":
        about = f"{_list(found['waiting'], 'run')} in the queue, and no dispatcher that serves it."
        yield Finding("Queue", "to do", about, "Open the Runs page: it starts one.")
    elif not (found["odd"] or found["gone"] or found["over"]):
        waits = f"{counted(len(found['waiting']), 'run')} in the queue." if found["waiting"] else "No run waits."
        yield Finding("Queue", "well", waits)


def _kind(path: Path) -> str:
    """What a name in the queue is: a record of a run that waits, or has begun by now, or is over, or gone, or none."""
    run = _run_of(path)
    is_gone, is_over = not is_there(run.folder / "params.json"), run.status().over
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return "odd"
    except FileNotFoundError:  # looked at last: a worker has begun with it meanwhile, or the run was deleted
        return "begun"
    return "gone" if is_gone else "over" if is_over else "waiting"


def _run_of(path: Path) -> Run:
    return Run(path.parent.parent / "runs" / path.name)


def _list(paths: list[Path], noun: str) -> str:
    return f"{counted(len(paths), noun)} ({shorten([printable(path.name) for path in paths], 3)})"


def _remover(paths: list[Path], kind: str) -> Callable[[], str]:
    """What removes records, each only if its run is still gone or over."""

    def remove() -> str:
        for path in paths:
            if _kind(path) == kind == "over":
                settle(_run_of(path))  # not under a worker that holds the run by now
            elif _kind(path) == kind:
                path.unlink(missing_ok=True)
        left = [path for path in paths if is_there(path)]
        about = f" {_list(left, 'record')} changed meanwhile and stayed." if left else ""
        return f"{counted(len(paths) - len(left), 'record')} of runs that are {kind} removed.{about}"

    return remove
