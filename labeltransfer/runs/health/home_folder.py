"""Checks of the home as a folder: whose it is, who may read it, its disk, its clock, its locks."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from labeltransfer.config import variable
from labeltransfer.runs.health.finding import Finding
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space.disk import entries
from labeltransfer.storage.home import no_room
from labeltransfer.storage.locks import lock_state
from labeltransfer.units import counted, duration, shorten, size

LITTLE_ROOM = 5e9
"""Bytes below which the free disk is worth a note: a run over large files writes gigabytes."""

SKEW = 5.0
"""Seconds by which two clocks may differ."""


def folder(root: Path) -> Iterator[Finding]:
    """Whether the home is there, may be written to, and belongs to who looks."""
    try:
        facts = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield Finding("Home", "note", f"{root} is not there yet: the app makes it when it starts.")
        return
    if not stat.S_ISDIR(facts.st_mode):
        way_out = f"Move it away, or set {variable('home')} to a folder."
        yield Finding("Home", "to do", f"{root} is no folder.", way_out)
        return
    if os.name == "posix" and facts.st_uid != os.geteuid():
        about = f"{root} belongs to user {facts.st_uid}, and this is user {os.geteuid()}."
        yield Finding("Home", "to do", about, "Run the app, its workers and this command as one user.")
    try:
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        way_out = f"Correct its permissions, or set {variable('home')} to another folder."
        yield Finding("Home", "to do", f"{root} cannot be written to ({error.strerror}).", way_out)
        return
    yield from _modes(root, facts.st_mode)
    yield Finding("Home", "well", f"{root} can be written to.")


def _modes(root: Path, mode: int) -> Iterator[Finding]:
    # A home that is meant for a group hands its group on, by the bit that is asked for here.
    too_open = mode & (0o007 if mode & stat.S_ISGID else 0o077)
    if os.name == "posix" and too_open:
        wanted = stat.S_IMODE(mode) & ~too_open
        about = f"Others on this machine may read {root}, mode {stat.S_IMODE(mode):04o}."
        yield Finding("Home", "to do", about, f"chmod {wanted:o} {root}", partial(_close, root, wanted))


def _close(root: Path, wanted: int) -> str:
    root.chmod(wanted)
    return f"{root} is now closed to others, mode {wanted:04o}."


def disk(root: Path) -> Iterator[Finding]:
    """Whether the disk has room."""
    room = shutil.disk_usage(root)
    if full := no_room(root):
        yield Finding("Disk", "to do", full, "labeltransfer clean --older-than 90d")
    elif room.free < LITTLE_ROOM:
        about = f"{size(room.free)} of {size(room.total)} are free, which few runs fill."
        yield Finding("Disk", "note", about, "labeltransfer clean --older-than 90d")
    else:
        yield Finding("Disk", "well", f"{size(room.free)} of {size(room.total)} are free.")


def clock(root: Path) -> Iterator[Finding]:
    """Whether the clocks of this machine, of the disk and of workers agree."""
    with tempfile.TemporaryFile(dir=root) as file:
        difference = os.fstat(file.fileno()).st_mtime - time.time()
    if abs(difference) > SKEW:
        about = f"The clock of the home's disk differs by {duration(abs(difference))} from this machine's."
        yield Finding("Clock", "to do", about, "Set both by NTP: signs of life are judged by them.")
    ahead = [run.id for run in Store(root).runs() if run.written_status().heartbeat > time.time() + SKEW]
    if ahead:
        about = f"{counted(len(ahead), 'run')} with a sign of life from the future: {shorten(ahead, 5)}."
        yield Finding("Clock", "to do", about, "Set the clocks of all machines by NTP.")
    if abs(difference) <= SKEW and not ahead:
        yield Finding("Clock", "well", "The disk and every worker agree with this machine.")


def locks(root: Path) -> Iterator[Finding]:
    """Which locks are held, and which cannot be read."""
    files = [path for path in entries(root / "locks") if path.suffix == ".lock"]
    files += [lock for run in entries(root / "runs") if (lock := run / "worker.lock").exists()]
    states = {path: lock_state(path) for path in files}
    closed = [path for path, state in states.items() if state == "unknown" or not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        about = f"{counted(len(closed), 'lock')} may not be opened by this user: {_names(closed)}."
        yield Finding("Locks", "to do", about, "Run the app, its workers and this command as one user.")
    held = [path for path, state in states.items() if state == "held"]
    devices = [path for path in held if path.name.startswith("device-")]
    working = [path for path in held if path.name == "worker.lock"]
    if devices and not working:
        about = f"{_names(devices)} held, and no run has a worker."
        yield Finding("Locks", "to do", about, f"lsof {devices[0]} names the process: end it.")
    said = f": {_names(held)}" if held else ""
    about = f"{counted(len(held), 'lock')} held of {len(files)}{said}. Files of free locks do no harm."
    yield Finding("Locks", "well", about)


def _names(paths: Iterable[Path]) -> str:
    return shorten((f"{path.parent.name}/{path.name}" for path in paths), 5)
