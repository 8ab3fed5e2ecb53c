"""Whether a server can work now: its folder, its disk, its queue and its workers."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.queue.liveness import is_silent
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import LIFE, Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.home import home, no_room
from labeltransfer.units import counted, shorten


@dataclass(frozen=True)
class Queue:
    """Runs that are not over; seconds since the first of those that wait was asked for, and ids of silent ones."""

    waiting: int = 0
    running: int = 0
    longest_wait: float = 0.0
    silent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Health:
    """What was found; ``problems`` are sentences, none where all is well."""

    home: str = ""
    free_bytes: int = 0
    total_bytes: int = 0
    queue: Queue = Queue()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def health() -> Health:
    """Look at everything; nothing is raised, whatever state the home is in."""
    try:
        root = home()
        room = shutil.disk_usage(root)
        problems = [no_room(root)]
    except (LabelTransferError, OSError) as error:
        return Health(problems=(str(error),))
    queue = Queue()
    try:
        queue = queue_of(Store(root).runs(), time.time())
    except (LabelTransferError, OSError) as error:
        problems.append(str(error))
    if queue.silent:
        problems.append(
            f"{counted(len(queue.silent), 'worker')} gave no sign of life for over {LIFE:.0f} s: cancel "
            f"{shorten(queue.silent, 3)} on the Runs page."
        )
    return Health(str(root), room.free, room.total, queue, tuple(filter(None, problems)))


def can_work() -> bool:
    """Whether the home can be written to and its disk has room: what costs next to nothing to know."""
    try:
        return not no_room(home())
    except (LabelTransferError, OSError):
        return False


def queue_of(runs: Iterable[Run], now: float) -> Queue:
    """What the runs that are not over are doing."""
    states = [(run, observed_status(run)) for run in runs]
    waits = [now - status.created for _, status in states if status.state == "queued"]
    n_running = sum(status.state == "running" for _, status in states)
    silent = tuple(run.id for run, status in states if not status.over and _is_silent(run, status, now))
    return Queue(len(waits), n_running, max([0.0, *waits]), silent)


def _is_silent(run: Run, status: Status, now: float) -> bool:
    if run.on_cluster:
        return bool(status.heartbeat) and now - status.heartbeat > LIFE
    return is_silent(run, status)
