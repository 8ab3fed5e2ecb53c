"""Make room: old runs, what no run needs any more, and what broken work has left.

A plan says beforehand what would go and how much that frees. Carrying it out asks everything again of each thing, while
nobody can make a run or send a file: what was kept, chosen, sent or claimed meanwhile stays, and the answer says so.
Two cleanings at once do no harm. These never go: runs that are running or waiting, runs that anyone keeps, the demo
run, what any other run needs, the lab's data folder and the published references.
"""

import heapq
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.access import Person, may_change
from labeltransfer.runs.records.activity import Thing, note
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import NO_SUCH_RUN, Store
from labeltransfer.runs.space import disk, removal
from labeltransfer.runs.space.needed_inputs import composed_inputs, file_name, inputs_of_runs
from labeltransfer.storage import download, kept, uploads
from labeltransfer.storage.locks import lock_state
from labeltransfer.storage.records import is_there

UNNEEDED = "no run needs it: "
"""What an input is about; its name follows."""

Kind = Literal["leftover", "artefact", "run", "input"]

RESTS = 86400.0
"""Seconds that a file has to lie untouched before it counts as left over, and an input as unused: a person
may be about to start a run with it."""


@dataclass(frozen=True)
class Item:
    """One thing that goes; ``touched`` is when it was last used, as far as the plan knew."""

    kind: Kind
    path: Path
    n_bytes: int
    about: str
    touched: float = 0.0
    artefacts: tuple[Path, ...] = ()  # that go with a run


@dataclass(frozen=True)
class Stay:
    """One thing that stays although a plan lists it, and why, to end the sentence "it stays, because"."""

    item: Item
    why: str


@dataclass(frozen=True)
class Plan:
    """What goes, in this order; once it is carried out, what went, and what stayed."""

    items: tuple[Item, ...] = ()
    stays: tuple[Stay, ...] = ()

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
    """Remove what a plan lists, as far as it may still go; returns what went, and what stayed with the reason.

    Raises
    ------
    SettingsError
        See :func:`plan`.
    """
    person = person or Person()
    stays: list[Stay] = []
    aside: list[tuple[Item, Path]] = []
    # Nobody makes a run or keeps an upload meanwhile, which might need the very thing that goes.
    with store.lock("runs"):
        now = _Now(store, person)
        for item in wanted.items:
            if item.kind == "artefact":
                continue
            why = now.why_it_stays(item)
            moved = None if why else removal.set_aside(store.root, item.path)
            if moved is None:
                stays.append(Stay(item, why or "it could not be removed from the disk"))
                continue
            aside.append((item, moved))
            if item.kind == "run":
                now.forget(Run(item.path).id)
    removal.sweep(store.root)
    removed = store.collect_garbage()  # it knows what is needed in that instant
    gone: list[Item] = []
    for item, moved in aside:
        if is_there(moved):
            stays.append(Stay(item, f"its files could not be deleted: they are in {moved}"))
            continue
        needed = sum(disk.artefact_bytes(path) for path in item.artefacts)  # those that are still there
        gone.append(replace(item, n_bytes=item.n_bytes - needed))
        if needed:
            stays.append(Stay(replace(item, n_bytes=needed), "another run needs results of it by now"))
    for item in wanted.of("artefact"):
        if item.path.name in removed:
            gone.append(item)
        else:
            stays.append(Stay(item, "a run needs it by now" if is_there(item.path) else GONE))
    _note_all(store, gone, person)
    order = {item.path: place for place, item in enumerate(wanted.items)}
    return Plan(tuple(sorted(gone, key=lambda item: order[item.path])), tuple(stays))


def delete_run(store: Store, run: Run, *, person: Person | None = None, touched: float | None = None) -> None:
    """Delete a run and every artefact that no other run refers to.

    Parameters
    ----------
    store, run
        The run and where it is.
    person
        Who deletes; None for anyone who works on the server.
    touched
        What :func:`run_touched` said when the person was asked: a run that was changed since then stays.

    Raises
    ------
    RunError
        The run is gone, still queued or running, another person's, or was changed since.
    """
    with store.lock("runs"):
        now = Run(run.folder)  # read anew, whatever its name
        if not is_there(now.folder / "params.json"):
            raise RunError(NO_SUCH_RUN)
        if not may_change(now, person or Person()):
            whose = now.owner or "no one in particular"
            raise RunError(f"Run {run.id} belongs to {whose}: only its owner or an admin can delete it.")
        if not observed_status(now).over:
            raise RunError(f"Run {run.id} is still running or waiting: cancel it before you delete it.")
        if touched is not None and run_touched(now) > touched:
            raise RunError(
                f"Run {run.id} was changed after you were asked, so it stays: look at it again, then delete it."
            )
        name = _run_name(now)
        if removal.set_aside(store.root, now.folder) is None:
            raise RunError(f"{now.folder} cannot be removed: correct its permissions, then delete the run again.")
        note(store.root, "deleted", (person or Person()).name, thing="run", id=now.id, name=name)
    removal.sweep(store.root)
    store.collect_garbage()


def run_touched(run: Run) -> float:
    """When anything in a run's own folder was last written, such as an edit or the wish to keep it."""
    return disk.last_touched(run.folder)


def is_spare(run: Run, person: Person) -> bool:
    """Whether cleaning may take a run; raises SettingsError, see :func:`plan`."""
    return observed_status(run).over and not run.kept and may_change(run, person)


def _leftovers(store: Store, now: float) -> Iterator[Item]:
    """Runs that were never complete, uploads that no page has taken, and what an interrupted removal has left."""
    for path in (*disk.entries(store.root / "runs"), *disk.entries(store.root / "uploads" / uploads.INCOMING)):
        touched = disk.last_touched(path)
        if not is_there(path / "params.json") and now - touched > RESTS:
            yield Item("leftover", path, disk.bytes_of(path), "begun and never finished", touched)
    for path in disk.entries(removal.folder(store.root)):
        yield Item("leftover", path, disk.bytes_of(path), "half removed")


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
    inputs = inputs_of_runs(store, runs)
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
                about = f"{UNNEEDED}{file_name(path)}"
                waiting[path] = Item("input", path, disk.bytes_of(path), about, last_use[path])
        used = Counter(path for paths in inputs.values() for path in paths)
        for path in [path for path in waiting if not used[path]]:
            offer(waiting.pop(path), last_use[path])
    for run in runs:
        if is_spare(run, person):
            status = observed_status(run)
            last = max(status.finished, status.heartbeat, status.created)
            offer(Item("run", run.folder, disk.bytes_of(run.folder), _run_name(run), run_touched(run)), last)
    users = Counter(name for names in (artefacts or {}).values() for name in names)
    while heap:
        last, _, item = heapq.heappop(heap)
        if item.kind == "run":
            run_id = Run(item.path).id
            names = artefacts[run_id] if artefacts is not None else set()
            users.subtract(names)
            own = tuple(store.stages / name for name in sorted(names) if not users[name])
            freed = sum(map(disk.artefact_bytes, own))
            item = replace(item, n_bytes=item.n_bytes + freed, artefacts=own)
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


def _spare_inputs(store: Store, person: Person) -> Iterator[Path]:
    """Uploads and downloads that a person may remove, needed or not."""
    for path in uploads.kept_folders(store.root):
        if person.admin or uploads.owners(path) == {person.name}:
            yield path
    for path in disk.entries(store.root / "downloads") if person.admin else ():
        # A lock that is removed while it is held protects nothing; a note goes once its file has gone.
        if path.suffix != ".lock" and not kept.belongs_to_a_file(path):
            yield path


GONE = "it was gone already"


class _Now:
    """What holds in this instant, asked under the lock ``runs``."""

    def __init__(self, store: Store, person: Person) -> None:
        self.store, self.person = store, person
        self.inputs = inputs_of_runs(store, store.runs())
        self.composed = composed_inputs(store)

    def forget(self, run_id: str) -> None:
        """Count a run as gone."""
        if self.inputs is not None:
            self.inputs.pop(run_id, None)

    def why_it_stays(self, item: Item) -> str:
        """Why an item may no longer go; empty where it may."""
        if not is_there(item.path):
            return GONE
        if item.path.parent == removal.folder(self.store.root):
            return ""  # on its way out already
        if item.kind == "run":
            why = self._run_stays(Run(item.path))
        elif item.kind == "input":
            why = self._input_stays(item.path)
        else:
            why = _leftover_stays(item.path)
        if not why and self._touched(item) > item.touched:
            why = "it was used after the plan was made"
        return why

    def _touched(self, item: Item) -> float:
        return max(disk.last_touched(item.path), self.composed.get(item.path, 0.0) if item.kind == "input" else 0.0)

    def _run_stays(self, run: Run) -> str:
        if not is_there(run.folder / "params.json"):
            return GONE
        if not observed_status(run).over:
            return "it is running or waiting"
        if run.kept:
            return "it is marked to be kept"
        return "" if may_change(run, self.person) else "it belongs to another person"

    def _input_stays(self, path: Path) -> str:
        if self.inputs is None:
            return "the settings of some run are damaged, which may need it"
        if any(path in paths for paths in self.inputs.values()):
            return "a run needs it by now"
        if path not in set(_spare_inputs(self.store, self.person)):
            return "it belongs to another person as well"
        if self.composed.get(path, 0.0) > time.time() - RESTS:
            return "it is chosen for a next run"
        if path.parent.name == "downloads" and lock_state(_download_lock(path)) != "free":
            return "it is being downloaded"
        return ""


def _leftover_stays(path: Path) -> str:
    return "it is a run by now" if is_there(path / "params.json") else ""


def _download_lock(path: Path) -> Path:
    """The lock of who fetches a file of ``downloads``, of which this one may be the unfinished part."""
    return download.lock_path(path.with_name(path.name.removesuffix(".json").removesuffix(".part")))


def _note_all(store: Store, gone: list[Item], person: Person) -> None:
    """Note which runs, uploads and downloads a person has removed."""
    for item in gone:
        if item.kind == "run":
            note(store.root, "deleted", person.name, thing="run", id=Run(item.path).id, name=item.about)
        elif item.kind == "input":
            thing: Thing = "upload" if item.path.parent.name == "uploads" else "download"
            name = item.about.removeprefix(UNNEEDED)
            note(store.root, "deleted", person.name, thing=thing, id=item.path.name, name=name)


def _run_name(run: Run) -> str:
    """Its name, else its id."""
    with suppress(LabelTransferError):
        return run.params.name or run.id
    return run.id
