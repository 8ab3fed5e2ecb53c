"""Whose turn it is: the order in which waiting runs get a device, fair between the people who started them.

As in a round robin, the next run is one of who has the fewest runs at work; of several such people, of who has waited
longest, be it since they asked or since their last run ended. Within a person's runs, and where nobody signs in at all,
it is first come, first served. No run starves: while it is its owner's first and no other one of theirs is at work,
everybody else gets at most one turn before it.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from labeltransfer.runs.records.run import GONE, Run, Status
from labeltransfer.runs.records.store import Store


@dataclass(frozen=True)
class QueueEntry:
    """What the order goes by; times are seconds since the epoch.

    ``turn`` is when a run got its device while it is ``running``, when it gave it back after that, 0 while it waits.
    """

    id: str
    owner: str
    asked: float
    turn: float = 0.0
    running: bool = False


def in_turn(entries: Iterable[QueueEntry]) -> list[QueueEntry]:
    """The waiting ones of ``entries`` in the order in which they get a device, see :func:`turns`."""
    return list(turns(entries))


def turns(entries: Iterable[QueueEntry]) -> Iterator[QueueEntry]:
    """Give the waiting ones of ``entries`` in the order in which they get a device, the next one first.

    Those at work and those that are over say who had how many turns, and when. Whatever waits is served in the order of
    its id within its owner, ids being made from the time.
    """
    known = list(entries)
    n_running = Counter(entry.owner for entry in known if entry.running)
    last_turn: dict[str, float] = defaultdict(float)
    waiting: dict[str, deque[QueueEntry]] = defaultdict(deque)
    for entry in sorted(known, key=lambda entry: entry.id):
        if entry.turn:
            last_turn[entry.owner] = max(last_turn[entry.owner], entry.turn)
        else:
            waiting[entry.owner].append(entry)
    latest = max((max(entry.asked, entry.turn) for entry in known), default=0.0)

    def urgency(owner: str) -> tuple[int, float, str]:
        first = waiting[owner][0]
        return n_running[owner], max(first.asked, last_turn[owner]), first.id

    turn = latest
    while waiting:
        owner = min(waiting, key=urgency)
        entry = waiting[owner].popleft()
        turn += 1  # later than any before it
        n_running[owner], last_turn[owner] = n_running[owner] + 1, turn
        if not waiting[owner]:
            del waiting[owner]
        yield entry


def waiting_runs(store: Store) -> list[Run]:
    """Runs that wait for a device of this machine, in the order in which they get one; a cluster keeps its own."""
    known = {run.id: run for run in store.runs() if not run.on_cluster}
    return [known[entry.id] for entry in in_turn(entries(known.values()))]


def entries(runs: Iterable[Run]) -> list[QueueEntry]:
    """Entries of runs on disk, without those that never had a turn and either are over or give no sign of life."""
    return [entry for run in runs if (entry := entry_of(run, run.status()))]


def entry_of(run: Run, status: Status) -> QueueEntry | None:
    """The entry of a run; None for one that never had a turn and either is over or gives no sign of life."""
    if status.state == "running":
        return QueueEntry(run.id, run.owner, status.created, status.started or status.created, running=True)
    if status.over and status.started:
        ended = status.finished or max(status.started, status.heartbeat)  # a killed worker wrote no end
        return QueueEntry(run.id, run.owner, status.created, ended)
    if status.state == "queued" and (_gives_signs(status) or (not status.heartbeat and run.in_queue)):
        return QueueEntry(run.id, run.owner, status.created)
    return None


def _gives_signs(status: Status) -> bool:
    """Whether the process that a run waits in lives, or may still be on its way; in the queue a run needs none."""
    # Of a clock that was put back only the distance counts.
    return abs(time.time() - (status.heartbeat or status.created)) < GONE
