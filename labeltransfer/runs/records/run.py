"""One run on disk: what was asked, what it is doing, what it has made.

The run directory is the only contract between those who ask for a run, its worker, and those who look at it::

    $LABELTRANSFER_HOME/
      runs/<run_id>/            params.json  status.json  stages.json  events.jsonl  log.txt  worker.lock  [owner.txt]
                                [worker.json]  [cancel]  [keep]  [job.json]
      queue/<run_id>            an empty file for each run that waits until the queue gives it a worker
      stages/<stage>-<key>/     a finished artefact, shared by every run that asked for the same
      locks/                    one a device, one for the stages, one for the queue's dispatcher

JSON is replaced atomically, and a worker holds ``worker.lock`` for as long as it lives: the kernel frees it
whatever the worker dies of. ``worker.json`` says which process that is, so that it can be ended from outside.
``job.json`` names the job that a run on a cluster became; there the lock says nothing.
"""

import calendar
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from filelock import FileLock
from pydantic import BeforeValidator, Field, TypeAdapter

from labeltransfer.errors import DamagedError, LabelTransferError, RunError, SettingsError
from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.records import events
from labeltransfer.runs.records.activity import Kind, note
from labeltransfer.runs.records.artefacts import Artefacts
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.storage import files
from labeltransfer.storage.home import no_room
from labeltransfer.storage.known_process import KnownProcess
from labeltransfer.storage.locks import LockState, lock_state
from labeltransfer.storage.records import (
    Name,
    Seconds,
    is_there,
    printable,
    read_content,
    read_json_content,
    read_record,
    read_tail,
)

T = TypeVar("T")
State = Literal["queued", "running", "done", "failed", "cancelled"]

STARTUP_GRACE = 180.0
"""Seconds that a new worker has to take its lock; a run that is not in the queue and has none after that has failed."""

LIFE = 30.0
"""Seconds for which a sign of life shows that a process lives, be it a worker or the dispatcher; then it is silent."""

GONE = 60.0
"""Seconds without a sign of life after which a process counts as gone that cannot be seen otherwise: its lock may not
be read, or its cluster does not answer, or it has none yet."""

MOST_NAME = 10_000
"""Bytes of the name of an owner."""

UNKNOWN_OWNER = "?"
"""Who owns a run whose ``owner.txt`` is damaged: someone unknown, so that it is not everybody's."""

UNWRITTEN = ("notice", "damaged")
"""Fields of a status that are not in its file."""

Count = Annotated[int, Field(ge=0, le=10**9)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Status:
    """What a run is doing; times are seconds since the epoch."""

    state: State = "queued"
    stage: str = ""
    epoch: Count = 0
    n_epochs: Count = 0
    fraction: Amount = 0.0  # share of the present stage that is done, where it is known
    message: str = ""
    error: str = ""
    device: str = ""
    created: Seconds = 0.0
    started: Seconds = 0.0
    finished: Seconds = 0.0
    heartbeat: Seconds = 0.0
    resources: dict[str, Amount] = field(default_factory=dict)
    notice: str = ""  # what is known besides the file, in words; never written
    damaged: bool = False  # whether the file could not be read; never written

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Run:
    """One run on disk. Cheap to make: everything is read when asked for."""

    folder: Path

    @property
    def id(self) -> str:
        return printable(self.folder.name)

    @property
    def root(self) -> Path:
        """Folder of the store that holds this run."""
        return self.folder.parent.parent

    @cached_property
    def params(self) -> RunParams:
        """What was asked; raises DamagedError where the file is damaged."""
        return _params_at(self.folder / "params.json")

    @cached_property
    def owner(self) -> str:
        """Name of who started it; empty where nobody had signed in."""
        return _owner_at(self.folder / "owner.txt")

    @property
    def on_cluster(self) -> bool:
        """Whether the run was handed to a cluster."""
        return is_there(self.folder / "job.json")

    def status(self) -> Status:
        """What the run is doing, as far as this machine knows: a run whose worker here is gone shows as failed.

        Of a run on a cluster it is what its worker wrote, for the lock says nothing there; what the cluster says of it
        is observed by :func:`labeltransfer.runs.queue.observed.observed_status`.
        """
        status = self.written_status()
        if status.damaged and self.has_worker():
            return replace(status, state="running", error="", notice="status.json is damaged: its worker replaces it.")
        if status.over or self.on_cluster:
            return status
        if not status.heartbeat and self.in_queue:  # no worker has it yet
            return replace(status, state="cancelled") if self.cancel_requested() else status
        lock = self.worker_lock_state()
        if lock == "held":
            return status
        had_worker = bool(status.heartbeat)  # read before the look at the lock: this one is gone, not on its way
        # The worker may have begun or finished between the two looks.
        status = self.written_status()
        # Of a clock that was put back only the distance counts: the run would else wait for as long as it went back.
        is_new = abs(time.time() - status.created) < STARTUP_GRACE
        if status.over or (status.state == "queued" and is_new and not had_worker):
            return status
        where = f" in stage {status.stage}" if status.stage else ""
        if lock == "unknown":
            if abs(time.time() - status.heartbeat) < GONE or self._worker_is_there():
                return status
            reason = (
                f"The worker has given no sign of life for more than {GONE:.0f} s{where}, and whether it still "
                f"lives cannot be seen: {self.folder / 'worker.lock'} may not be read. "
            )
        elif self.cancel_requested():  # and its worker has ended, one way or another
            return replace(status, state="cancelled")
        else:
            reason = f"The worker ended without a word{where}: it was stopped from outside or ran out of memory. "
        # A full disk takes the worker's last words as well: it can only be found by looking.
        way_out = no_room(self.root) or (
            "Start the run again: finished stages are kept. Where memory ran out, take fewer cells (max_query_cells)."
        )
        return replace(status, state="failed", error=reason + way_out)

    def written_status(self) -> Status:
        """What ``status.json`` says, whether or not the worker still lives."""
        try:
            return self.read_status()
        except DamagedError as error:
            reason = (
                f"status.json of this run is damaged ({error.why}): delete the run. Started again, it finds what was "
                "finished."
            )
            return Status(state="failed", error=reason, created=_created(self.folder), damaged=True)

    def read_status(self) -> Status:
        """As :meth:`written_status`; raises DamagedError where the file is damaged."""
        return _status_at(self.folder / "status.json") or Status(created=_created(self.folder))

    def write_status(self, status: Status) -> None:
        written = {name: value for name, value in asdict(status).items() if name not in UNWRITTEN}
        files.write_json(self.folder / "status.json", written)

    def worker_lock(self) -> FileLock:
        return FileLock(self.folder / "worker.lock")

    def worker_lock_state(self) -> LockState:
        """Whether a living process holds this run's lock, as far as it may be read."""
        return lock_state(self.folder / "worker.lock")

    def has_worker(self) -> bool:
        """Whether a living process is known to hold this run's lock."""
        return self.worker_lock_state() == "held"

    def worker_process(self) -> KnownProcess | None:
        """The process that began with this run, whether or not it still is; None where that is not known."""
        return KnownProcess.read(self.folder / "worker.json")

    def _worker_is_there(self) -> bool:
        known = self.worker_process()
        return known is not None and known.process() is not None

    @property
    def place_in_queue(self) -> Path:
        """The file that keeps this run in the queue until a worker has begun with it."""
        return self.root / "queue" / self.id

    @property
    def in_queue(self) -> bool:
        """Whether the queue is to give this run a worker; it may wait there for as long as it takes."""
        return self.place_in_queue.exists()

    def append_event(self, event: str, **values: Any) -> None:
        """Append one line to ``events.jsonl``; a single write, so that lines never mix."""
        line = json.dumps({"time": time.time(), "event": event, **values})
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Events so far, oldest first, see :mod:`.events`; of one kind if named. Damaged ones are left out."""
        found = events.read_events(self.folder / "events.jsonl")
        return [e for e in found if event is None or e["event"] == event]

    def log_tail(self, n_lines: int = 30) -> str:
        """The last lines that the worker printed; none where the log cannot be read."""
        return "\n".join(read_tail(self.folder / "log.txt").splitlines()[-n_lines:])

    def note(self, kind: Kind, who: str) -> None:
        """Note for admins that a person did something to this run; nothing is raised where that fails."""
        if self.id == "demo":  # it lies in the installation, which keeps no list
            return
        name = ""
        with suppress(LabelTransferError):
            name = self.params.name
        note(self.root, kind, who, thing="run", id=self.id, name=name)

    def request_cancel(self, by: str = "") -> None:
        """Ask the worker to stop; it looks at each batch. See :func:`.liveness.cancel` for runs without a worker."""
        asked = self.cancel_requested()
        (self.folder / "cancel").touch()
        if not asked:
            self.note("cancelled", by)

    def cancel_requested(self) -> bool:
        return (self.folder / "cancel").exists()

    def cancel_age(self) -> float | None:
        """Seconds since a person asked for the run to stop; None where nobody did."""
        try:
            return time.time() - (self.folder / "cancel").stat().st_mtime
        except OSError:
            return None

    @property
    def kept(self) -> bool:
        """Whether anyone asked that cleaning leaves this run; True where that cannot be known."""
        return is_there(self.folder / "keep")

    def keep(self, wanted: bool) -> None:
        """Have cleaning leave this run, or take that back."""
        if wanted:
            (self.folder / "keep").touch()
        else:
            (self.folder / "keep").unlink(missing_ok=True)

    def stage_keys(self) -> dict[str, str]:
        """Key by stage name, of the stages that this run has reached; the last one may still be running.

        Raises
        ------
        DamagedError
            The file is damaged.
        """
        return dict(_stage_keys_at(self.folder / "stages.json") or {})

    def artefact_names(self) -> set[str]:
        """Folder names of the artefacts that this run refers to; raises DamagedError where that is unknown."""
        return {f"{stage}-{key}" for stage, key in self.stage_keys().items()}

    def artefact(self, stage: str, name: str = "") -> Path:
        """Path of a file in one of this run's stage artefacts.

        Raises
        ------
        RunError
            The run has not reached the stage, or the artefact was deleted.
        """
        key = self.stage_keys().get(stage)
        path = self.root / "stages" / f"{stage}-{key}" / name if key else None
        if path is None or not is_there(path):
            raise RunError(f"Run {self.id} has no finished stage '{stage}': start it again to make it.")
        return path

    @property
    def artefacts(self) -> Artefacts:
        """Paths of the files in this run's stage artefacts, by what they are; see :meth:`artefact`."""
        return Artefacts(self.artefact)

    @property
    def whole_artefacts(self) -> Artefacts:
        """As ``artefacts``, with checksums compared, for what leaves the app; RunError too where one is damaged."""
        return Artefacts(lambda stage, name: require_whole(self.artefact(stage, name)))


def stamp_of(path: Path) -> tuple[int, ...]:
    """Tells one state of a file from the next, far quicker than reading it; empty where there is none or none is seen.

    What is said of a file with an empty stamp is not to be kept: it may be there the next instant.
    """
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


def marks_of(folder: Path) -> tuple[tuple[str | int, ...], ...]:
    """Tells one state of all that is directly in a folder from the next, in one look; empty where it cannot be seen.

    Of thousands of runs, each with several files, this is far quicker than one stamp after the other.
    """
    try:
        with os.scandir(folder) as entries:
            facts = [(entry.name, entry.stat(follow_symlinks=True)) for entry in entries]
    except OSError:
        return ()
    return tuple((name, f.st_ino, f.st_mtime_ns, f.st_ctime_ns, f.st_size) for name, f in facts)


def by_stamp(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Keep what is read from a file for as long as the file stays the same."""

    @lru_cache(maxsize=1 << 16)
    def kept(stamp: tuple[int, ...], path: Path) -> T:
        return read(path)

    @wraps(read)
    def read_once(path: Path) -> T:
        stamp = stamp_of(path)
        return kept(stamp, path) if stamp else read(path)

    return read_once


# Pages look at every run of the home again and again, and hardly any of them has changed.


@by_stamp
def _owner_at(path: Path) -> str:
    with suppress(DamagedError, UnicodeDecodeError):
        found = read_content(path, n_most=MOST_NAME)
        if found is None:
            return ""
        return found.decode().strip() or UNKNOWN_OWNER  # none is written where nobody had signed in
    return UNKNOWN_OWNER


@by_stamp
def _params_at(path: Path) -> RunParams:
    found = read_json_content(path)
    try:
        return run_params(found)
    except SettingsError as error:
        raise DamagedError(path, str(error).removesuffix("."), "delete the run on the Runs page") from error


@by_stamp
def _status_at(path: Path) -> Status | None:
    return read_record(path, _STATUS)


@by_stamp
def _stage_keys_at(path: Path) -> dict[str, str] | None:
    return read_record(path, _STAGE_KEYS)


def _with_its_time(found: Any) -> Any:
    """Refuse a status without the time of its run, by which the queue and the cleaning go."""
    if isinstance(found, dict) and "created" not in found:
        raise ValueError("created is missing")
    return found


_STATUS: TypeAdapter[Status] = TypeAdapter(Annotated[Status, BeforeValidator(_with_its_time)])
_STAGE_KEYS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[Name, Name])


def _created(folder: Path) -> float:
    """Time of creation by the id, for a run whose status is lost; else that of its folder, else now."""
    with suppress(ValueError):
        return max(0.0, float(calendar.timegm(time.strptime(folder.name[:15], "%Y%m%d-%H%M%S"))))
    with suppress(OSError):
        return folder.lstat().st_mtime
    return time.time()
