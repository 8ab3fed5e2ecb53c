"""Put a run into the queue, and see to it that the home has a dispatcher while there is work for one."""

import time
from contextlib import suppress
from pathlib import Path

from labeltransfer.processes import start_module
from labeltransfer.runs.records.run import LIFE, Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.known_process import KnownProcess
from labeltransfer.storage.locks import lock_state

WORKER = "labeltransfer.runs.worker"

DISPATCHER = "labeltransfer.runs.queue.dispatcher"

STARTING = 5.0
"""Seconds that a dispatcher has to take its lock; in these, this process starts no other one."""

LARGEST_LOG = 1_000_000
"""Bytes of the dispatcher's log, which is begun anew when a dispatcher starts and it is larger."""

_started: dict[Path, float] = {}


def enqueue(run: Run, worker: str = WORKER) -> None:
    """Put a run into the queue of its home.

    Raises
    ------
    OSError
        The disk does not take it, or no dispatcher started.
    """
    run.place_in_queue.parent.mkdir(exist_ok=True)
    run.place_in_queue.touch()
    ensure_dispatcher(Store(run.root), worker)


def revive(store: Store, worker: str = WORKER) -> None:
    """Start a dispatcher where runs wait and none is there, as far as this is possible; for all that look."""
    with suppress(OSError):
        if any((store.root / "queue").iterdir()):
            ensure_dispatcher(store, worker)


def ensure_dispatcher(store: Store, worker: str = WORKER) -> None:
    """Start the dispatcher of a home unless one is there; one that gives no sign of life is replaced.

    Any can be killed at any moment: what waits is on the disk, and workers go on by themselves.

    Raises
    ------
    OSError
        It could not be started.
    """
    lock, life = dispatcher_files(store)
    state = lock_state(lock)
    if state == "unknown" or (state == "held" and not _is_silent(life)):
        return
    known = KnownProcess.read(life)
    if state == "held" and not (known and known.kill(alone=True)):
        return  # it is on another machine, which has the queue
    if time.monotonic() - _started.get(store.root, -STARTING) < STARTING and state == "free":
        return
    _started[store.root] = time.monotonic()
    lock.parent.mkdir(parents=True, exist_ok=True)
    log = lock.with_suffix(".log")
    with suppress(FileNotFoundError):
        if log.stat().st_size > LARGEST_LOG:
            log.unlink()
    start_module(DISPATCHER, str(store.root), worker, log=log)


def dispatcher_files(store: Store) -> tuple[Path, Path]:
    """The dispatcher's lock, and the file that names its process, whose time of change is its last sign of life."""
    return store.root / "locks" / "dispatcher.lock", store.root / "locks" / "dispatcher.json"


def _is_silent(life: Path) -> bool:
    try:
        seconds = abs(time.time() - life.stat().st_mtime)
    except OSError:  # it has only just taken its lock
        return False
    known = KnownProcess.read(life)
    return seconds > LIFE and not (known and known.activity() == "computes")
