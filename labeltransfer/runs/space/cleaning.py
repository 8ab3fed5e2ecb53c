"""Make room: old runs, what no run needs any more, and what broken work has left.

A plan says beforehand what would go and how much that frees; carrying it out looks at each item again, so a run that
somebody keeps meanwhile stays, and two cleanings at once do no harm. These never go: runs that are
running or waiting, runs that somebody keeps, the demo run, what any other run needs, the
lab's data folder and the published references.
"""

import heapq
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.access import Person, may_change
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import disk
from labeltransfer.runs.space.needed_inputs import composed_inputs, file_name, named_in
from labeltransfer.storage import uploads

Kind = Literal["leftover", "artefact", "run", "input"]

RESTS = 86400.0
"""Seconds that a file has to lie untouched before it counts as left over, and an input as unused: it may be somebody's
who is about to start a run."""


@dataclass(frozen=True)
class Item:
    """One thing that goes."""

    kind: Kind
    path: Path
    n_bytes: int
    about: str


@dataclass(frozen=True)
class Plan:
    """What goes, in this order."""

    items: tuple[Item, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Bytes that become free."""
        return sum(item.n_bytes for item in self.items)

    def of(self, kind: Kind) -> list[Item]:
        return [item for item in self.items if item.kind == kind]


def plan(
    store: Store,
    *,
    older_than: float | None = None,
    until: int | None = None,
    person: Person | None = None,
    now: float | None = None,
) -> Plan:
    """What a cleaning would remove: always leftovers and artefacts that no run needs; runs and inputs by age or size.

    Parameters
    ----------
    store
        Where the runs are.
    older_than
        Seconds since a run ended, or since an upload or download that no run needs was last touched, after which it
        goes.
    until
        The oldest of them go, one after the other, until everything takes at most this many bytes.
    person
        Who cleans: their own runs and uploads alone, unless they are an admin; None for anyone who works on the server.
    now
        The time, seconds since the epoch.

    Raises
    ------
    SettingsError
        The setting of who sees which runs is wrong, see :mod:`labeltransfer.runs.records.access`.
    """
    now = time.time() if now is None else now
    person = person or Person()
    items = [*_leftovers(store, now), *_garbage(store)]
    if older_than is None and until is None:
        return Plan(tuple(items))
    left = sum(disk.disk_use(store.root).values()) - sum(item.n_bytes for item in items)
    for last, item in _oldest_first(store, person, now):
        due = older_than is not None and now - last > older_than
        if not due and (until is None or left <= until):
            break
        items.append(item)
        left -= item.n_bytes
    return Plan(tuple(items))


def clean(store: Store, wanted: Plan, *, person: Person | None = None) -> Plan:
    """Remove what a plan lists, as far as it may still go; returns what did.

    Raises
    ------
    SettingsError
        See :func:`plan`.
    """
    person = person or Person()
    for item in wanted.items:
        # Nobody makes a run meanwhile, who might choose the very file that goes.
        with store.lock("runs"):
            if _may_go(store, item, person):
                _remove(item.path)
    store.collect_garbage()  # the artefacts: it knows what is needed in that instant
    return Plan(tuple(item for item in wanted.items if not item.path.exists()))


def delete_run(store: Store, run: Run) -> None:
    """Delete a run and every artefact that no other run refers to.

    Raises
    ------
    RunError
        The run is still queued or running.
    """
    if not observed_status(run).over:
        raise RunError(f"Run {run.id} is still running or waiting: cancel it before you delete it.")
    store.delete(run)


def is_spare(run: Run, person: Person) -> bool:
    """Whether cleaning may take a run; raises SettingsError, see :func:`plan`."""
    return observed_status(run).over and not run.kept and may_change(run, person)


def _leftovers(store: Store, now: float) -> Iterator[Item]:
    """Runs that were never complete, and uploads that no page has taken."""
    for path in (*disk.entries(store.root / "runs"), *disk.entries(store.root / "uploads" / uploads.INCOMING)):
        if not (path / "params.json").exists() and now - disk.last_touched(path) > RESTS:
            yield Item("leftover", path, disk.bytes_of(path), "begun and never finished")


def _garbage(store: Store) -> Iterator[Item]:
    for path in store.garbage():
        about = "half-built" if path.name.startswith(".") else "no run needs it"
        yield Item("artefact", path, disk.bytes_of(path), about)


def _oldest_first(store: Store, person: Person, now: float) -> Iterator[tuple[float, Item]]:
    """What may go by age or size, each with the time of its last use; the next is asked for once the last one is gone.

    With a run go the artefacts that no other one uses, and the inputs that it used can go from then on.
    """
    runs = store.runs()
    artefacts = _artefacts(runs)
    inputs = _inputs(store, runs)
    heap: list[tuple[float, str, Item]] = []

    def offer(item: Item, last: float) -> None:
        heapq.heappush(heap, (last, str(item.path), item))

    waiting: dict[Path, Item] = {}
    last_use: dict[Path, float] = {}
    if inputs is not None:  # else what some run reads is unknown
        composed = composed_inputs(store)
        for path in _spare_inputs(store, person):
            last_use[path] = max(disk.last_touched(path), composed.get(path, 0.0))
            if now - last_use[path] > RESTS:
                waiting[path] = Item("input", path, disk.bytes_of(path), f"no run needs it: {file_name(path)}")
        used = Counter(path for paths in inputs.values() for path in paths)
        for path in [path for path in waiting if not used[path]]:
            offer(waiting.pop(path), last_use[path])
    for run in runs:
        if is_spare(run, person):
            status = observed_status(run)
            last = max(status.finished, status.heartbeat, status.created)
            offer(Item("run", run.folder, disk.bytes_of(run.folder), _run_name(run)), last)
    users = Counter(name for names in (artefacts or {}).values() for name in names)
    while heap:
        last, _, item = heapq.heappop(heap)
        if item.kind == "run":
            run_id = item.path.name
            names = artefacts[run_id] if artefacts is not None else set()
            users.subtract(names)
            freed = sum(disk.artefact_bytes(store.stages / name) for name in names if not users[name])
            item = Item("run", item.path, item.n_bytes + freed, item.about)
            for path in inputs[run_id] if inputs is not None else ():
                used[path] -= 1
                if not used[path] and path in waiting:
                    offer(waiting.pop(path), last_use[path])
        yield last, item


def _artefacts(runs: list[Run]) -> dict[str, set[str]] | None:
    """Artefacts of each run by its id; None where those of some run are unknown, for then none goes."""
    try:
        return {run.id: run.artefact_names() for run in runs}
    except RunError:
        return None


def _inputs(store: Store, runs: list[Run]) -> dict[str, set[Path]] | None:
    """Uploads and downloads that each run reads, by its id; None where those of some run are unknown."""
    try:
        return {run.id: set(named_in(store, run.params.model_dump(mode="json"))) for run in runs}
    except LabelTransferError:
        return None


def _spare_inputs(store: Store, person: Person) -> Iterator[Path]:
    """Uploads and downloads that a person may remove, needed or not."""
    for path in uploads.kept_folders(store.root):
        if person.admin or uploads.owners(path) == {person.name}:
            yield path
    for path in disk.entries(store.root / "downloads") if person.admin else ():
        if path.suffix != ".lock":  # a lock that is removed while it is held protects nothing
            yield path


def _may_go(store: Store, item: Item, person: Person) -> bool:
    """Whether an item may still go, which may have changed since it was planned."""
    if item.kind == "run":
        return item.path.is_dir() and is_spare(Run(item.path), person)
    if item.kind == "input":
        inputs = _inputs(store, store.runs())
        return inputs is not None and not any(item.path in paths for paths in inputs.values())
    return item.kind == "leftover" and not (item.path / "params.json").exists()


def _remove(path: Path) -> None:
    with suppress(OSError):
        (path / "params.json").unlink(missing_ok=True)  # a run is gone at once, not file by file
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _run_name(run: Run) -> str:
    """Its name, else its id."""
    with suppress(LabelTransferError):
        return run.params.name or run.id
    return run.id
