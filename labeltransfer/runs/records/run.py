"""One run on disk: what was asked, what it is doing, what it has made.

The run directory is the only contract between those who ask for a run, its worker, and those who look at it::

    $LABELTRANSFER_HOME/
      runs/<run_id>/            params.json  status.json  stages.json  events.jsonl  log.txt  worker.lock  [owner.txt]
                                [cancel]  [keep]  [job.json]
      stages/<stage>-<key>/     a finished artefact, shared by every run that asked for the same
      locks/                    one a device, one for the stages

JSON is replaced atomically, and a worker holds ``worker.lock`` for as long as it lives: the kernel frees it
whatever the worker dies of. ``job.json`` names the job that a run on a cluster became; there the lock says nothing.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams, read_params
from labeltransfer.runs.records.artefacts import Artefacts
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.storage import files
from labeltransfer.storage.home import no_room
from labeltransfer.storage.locks import is_held

State = Literal["queued", "running", "done", "failed", "cancelled"]

STARTUP_GRACE = 180.0
"""Seconds that a new worker has to take its lock; a queued run without a worker after that has failed."""


@dataclass(frozen=True)
class Status:
    """What a run is doing; times are seconds since the epoch."""

    state: State = "queued"
    stage: str = ""
    epoch: int = 0
    n_epochs: int = 0
    fraction: float = 0.0  # share of the present stage that is done, where it is known
    message: str = ""
    error: str = ""
    device: str = ""
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    heartbeat: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    notice: str = ""  # what is known besides the file, in words; never written

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
        return self.folder.name

    @property
    def root(self) -> Path:
        """Folder of the store that holds this run."""
        return self.folder.parent.parent

    @cached_property
    def params(self) -> RunParams:
        """What was asked; raises SettingsError where the file is damaged."""
        path = self.folder / "params.json"
        return _params_at(path, *_stamp(path))

    @cached_property
    def owner(self) -> str:
        """Name of who started it; empty where nobody had signed in."""
        try:
            return (self.folder / "owner.txt").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError:  # it has an owner, unknown here: for an admin to fix
            return "?"

    @property
    def on_cluster(self) -> bool:
        """Whether the run was handed to a cluster."""
        return (self.folder / "job.json").exists()

    def status(self) -> Status:
        """What the run is doing, as far as this machine knows: a run whose worker here is gone shows as failed.

        Of a run on a cluster it is what its worker wrote, for the lock says nothing there; what the cluster says of it
        is observed by :func:`labeltransfer.runs.queue.observed.observed_status`.
        """
        status = self.written_status()
        if status.over or self.on_cluster or self.has_worker():
            return status
        had_worker = bool(status.heartbeat)  # read before the look at the lock: this one is gone, not on its way
        # The worker may have begun or finished between the two looks.
        status = self.written_status()
        # Of a clock that was put back only the distance counts: the run would else wait for as long as it went back.
        is_new = abs(time.time() - status.created) < STARTUP_GRACE
        if status.over or (status.state == "queued" and is_new and not had_worker):
            return status
        where = f" in stage {status.stage}" if status.stage else ""
        reason = f"The worker ended without a word{where}: it was stopped from outside or ran out of memory. "
        # A full disk takes the worker's last words as well: it can only be found by looking.
        way_out = no_room(self.root) or "Start the run again: finished stages are kept."
        return replace(status, state="failed", error=reason + way_out)

    def written_status(self) -> Status:
        """What ``status.json`` says, whether or not the worker still lives."""
        path = self.folder / "status.json"
        try:
            return _status_at(path, *_stamp(path))
        except FileNotFoundError:
            return Status(created=_created(self.id))
        except (OSError, ValueError, TypeError):
            reason = "status.json of this run is damaged. Start the run again: finished stages are kept."
            return Status(state="failed", error=reason, created=_created(self.id))

    def write_status(self, status: Status) -> None:
        files.write_json(self.folder / "status.json", asdict(status))

    def worker_lock(self) -> FileLock:
        return FileLock(self.folder / "worker.lock")

    def has_worker(self) -> bool:
        """Whether a living process holds this run's lock."""
        return is_held(self.folder / "worker.lock")

    def append_event(self, event: str, **values: Any) -> None:
        """Append one line to ``events.jsonl``; a single write, so that lines never mix."""
        line = json.dumps({"time": time.time(), "event": event, **values})
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Events so far, oldest first: ``start``, ``epoch``, ``end`` and ``message``; of one kind if named."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "events.jsonl").read_text().splitlines():
                with suppress(ValueError):  # the last line of a crashed worker may be cut
                    found.append(json.loads(line))
        return [e for e in found if event is None or e.get("event") == event]

    def log_tail(self, n_lines: int = 30) -> str:
        """The last lines that the worker printed."""
        try:
            return "\n".join((self.folder / "log.txt").read_text(errors="replace").splitlines()[-n_lines:])
        except FileNotFoundError:
            return ""

    def request_cancel(self) -> None:
        """Ask the worker to stop; it looks at each batch."""
        (self.folder / "cancel").touch()

    def cancel_requested(self) -> bool:
        return (self.folder / "cancel").exists()

    @property
    def kept(self) -> bool:
        """Whether somebody asked that cleaning leaves this run."""
        return (self.folder / "keep").exists()

    def keep(self, wanted: bool) -> None:
        """Have cleaning leave this run, or take that back."""
        if wanted:
            (self.folder / "keep").touch()
        else:
            (self.folder / "keep").unlink(missing_ok=True)

    def stage_keys(self) -> dict[str, str]:
        """Key by stage name, of the stages that this run has reached; the last one may still be running."""
        try:
            return json.loads((self.folder / "stages.json").read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise RunError(f"stages.json of run {self.id} is damaged: start the run again.") from error

    def artefact_names(self) -> set[str]:
        """Folder names of the artefacts that this run refers to; raises RunError where that is unknown."""
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
        if path is None or not path.exists():
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


def _stamp(path: Path) -> tuple[int, int, int]:
    """Tells one state of a file that is replaced as a whole from the next, far quicker than reading it."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0, 0
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


# Pages look at every run of the home again and again, and hardly any of them has changed.


@lru_cache(maxsize=4096)
def _params_at(path: Path, *stamp: int) -> RunParams:
    return read_params(path)


@lru_cache(maxsize=4096)
def _status_at(path: Path, *stamp: int) -> Status:
    return Status(**json.loads(path.read_text()))


def _created(run_id: str) -> float:
    """Time of creation by the id, for a run whose status is lost."""
    with suppress(ValueError):
        return time.mktime(time.strptime(run_id[:15], "%Y%m%d-%H%M%S")) - time.timezone
    return 0.0
