"""All runs and stage artefacts under one folder.

A stage artefact is built next to its place and renamed into it when complete, under a key made of its own settings and
its inputs' keys: who asks for the same thing finds it there.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from labeltransfer.errors import DamagedError, RunError
from labeltransfer.params import RunParams
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.activity import note
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.storage import files
from labeltransfer.storage.home import home, no_room
from labeltransfer.storage.records import is_there

SHIPPED = Path(__file__).parents[2] / "data" / "demo" / "shipped"
"""The finished demo run that comes with the app, in the same layout, read-only."""

SHIPPED_STAYS = "The demo run comes with the app and stays as it is: train the demo data yourself to change its labels."
NO_SUCH_RUN = "There is no such run (any more): choose another one on the Runs page."
MAX_ID = 64
"""Characters of a run's id; a file system takes no name of more than 255."""


@dataclass(frozen=True)
class Store:
    """The folder ``root`` with its ``runs``, ``stages`` and ``locks``."""

    root: Path

    @property
    def stages(self) -> Path:
        return self.root / "stages"

    def lock(self, name: str) -> FileLock:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def create(self, params: RunParams, owner: str = "", *, check: Callable[[], None] | None = None) -> Run:
        """Make the directory of a new, queued run.

        Parameters
        ----------
        params
            What is asked.
        owner
            Who asks; empty for nobody in particular.
        check
            Called first, while no other run can be made; raises to refuse this one.

        Raises
        ------
        RunError
            The directory cannot be written.
        """
        now = time.time()
        run_id = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now % 1 * 1e6):06d}{secrets.token_hex(2)}"
        run = Run(self.root / "runs" / run_id)
        try:
            with self.lock("runs"):  # two at once cannot both be the last that a quota allows
                if check:
                    check()
                run.folder.mkdir(parents=True)
                if owner:  # before params.json, with which the run comes into being: it is never seen without its owner
                    files.write_atomic(run.folder / "owner.txt", owner)
                files.write_atomic(run.folder / "params.json", params.model_dump_json(indent=2))
                run.write_status(Status(created=now))
                files.sync_names(run.folder.parent)
        except OSError as error:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise RunError(f"The run cannot be kept in {self.root} ({error.strerror}): free some space.") from error
        note(self.root, "started", owner, thing="run", id=run.id, name=params.name)
        return run

    def runs(self) -> list[Run]:
        """Every run, newest first; those that are damaged as well, see :mod:`.damage`.

        Raises
        ------
        DamagedError
            The folder of the runs cannot be read: which there are is unknown.
        """
        folder = self.root / "runs"
        try:
            names = sorted(os.listdir(folder), reverse=True)
        except OSError as error:
            if not is_there(folder):
                return []
            raise DamagedError(folder, error.strerror or str(error), "give it back to the app's user") from error
        return [Run(folder / name) for name in names if is_there(f"{folder}/{name}/params.json")]

    def run(self, run_id: str) -> Run:
        """Find a run by its id.

        Raises
        ------
        RunError
            There is no such run.
        """
        # Ids come out of addresses: nothing but a short, plain name may reach the file system.
        if 0 < len(run_id) <= MAX_ID and set(run_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            run = Run(self.root / "runs" / run_id)
            if is_there(run.folder / "params.json"):
                return run
        raise RunError(NO_SUCH_RUN)

    def collect_garbage(self) -> set[str]:
        """Remove artefacts that no run refers to, and what dead workers left half-built; returns their names."""
        with self.lock("stages"):  # no longer than it takes to rename them: workers wait for it
            unwanted = self.garbage()
            aside = [_set_aside(folder) for folder in unwanted]
        for folder in aside:
            shutil.rmtree(folder, ignore_errors=True)
        return {folder.name for folder in unwanted if not is_there(folder)}

    def garbage(self) -> list[Path]:
        """Stage folders that no run refers to, and half-built ones of dead workers, as of now."""
        runs = self.runs()
        alive = {run.id for run in runs if not run.status().over}
        try:
            kept = {name for run in runs for name in run.artefact_names()}
        except RunError:  # some run's references are damaged: what it needs is unknown, so all is kept
            kept = None
        unwanted = []
        for folder in self._stage_folders():
            if folder.name.startswith("."):  # half-built
                wanted = folder.name.rpartition("~")[2] in alive
            else:
                wanted = kept is None or folder.name in kept
            if not wanted:
                unwanted.append(folder)
        return unwanted

    def _stage_folders(self) -> list[Path]:
        """What is in the folder of the stages; nothing where it cannot be read."""
        with suppress(OSError):
            return sorted(self.stages.iterdir())
        return []

    def stage_folder(self, stage: str, key: str) -> Path:
        return self.stages / f"{stage}-{key}"

    def has_stage(self, stage: str, key: str) -> bool:
        """Whether the artefact is there, complete: nothing of it was cut or lost since."""
        folder = self.stage_folder(stage, key)
        with suppress(RunError):  # of another user, and not to be read here
            return folder.is_dir() and not checksums.damaged_files(folder, quick=True)
        return False

    def claim_stage(self, run: Run, stage: str, key: str) -> bool:
        """Refer to an artefact from a run, which keeps it from deletion; returns whether it exists."""
        with self.lock("stages"):
            files.write_json(run.folder / "stages.json", run.stage_keys() | {stage: key})
            return self.stage_folder(stage, key).is_dir()

    def set_damaged_aside(self, run: Run, stage: str, key: str) -> list[str]:
        """Compare an artefact's checksums and move a damaged one out of its place, where it can be made anew.

        Every run that refers to it finds the new one there. What was moved is swept away once ``run`` is over.

        Returns
        -------
        list
            Names of the damaged files; empty where the artefact is whole.
        """
        folder = self.stage_folder(stage, key)
        damaged = checksums.damaged_files(folder)  # outside the lock: to read gigabytes takes seconds
        if damaged:
            with self.lock("stages"):
                # Another run may have found the same damage, and what is there now may be the one made anew.
                if checksums.damaged_files(folder, only=damaged):
                    aside = self.stages / f".damaged-{stage}-{key}~{run.id}"
                    shutil.rmtree(aside, ignore_errors=True)
                    folder.rename(aside)
        return damaged

    @contextmanager
    def build_stage(self, run: Run, stage: str, key: str) -> Iterator[Path]:
        """Give a folder to write an artefact to; it takes its place when the block ends without an error."""
        if full := no_room(self.root):
            raise RunError(full)
        building = self.stages / f".{stage}-{key}~{run.id}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            yield building
            checksums.seal(building)
            sync(building)
            with suppress(OSError):  # another run was faster with the same thing: its own stays
                building.rename(self.stage_folder(stage, key))
                files.sync_names(self.stages)
            if not self.has_stage(stage, key):
                raise RunError(f"The result of stage {stage} could not be stored under {self.stages}.")
        finally:
            shutil.rmtree(building, ignore_errors=True)


def default_store() -> Store:
    """The store under ``$LABELTRANSFER_HOME``."""
    return Store(home())


def find_run(run_id: str) -> Run:
    """A run of this server, or the demo run that ships with the app (id ``demo``)."""
    return Store(SHIPPED).run(run_id) if run_id == "demo" else default_store().run(run_id)


def is_shipped(run: Run) -> bool:
    """Whether a run comes with the app: it is part of the installation, which no one changes."""
    return run.root == SHIPPED


def require_changeable(run: Run) -> None:
    """Go on only with a run that does not come with the app; for all that is kept in a run's folder by hand.

    Raises
    ------
    RunError
        It does.
    """
    if is_shipped(run):
        raise RunError(SHIPPED_STAYS)


def _set_aside(folder: Path) -> Path:
    """Rename an artefact so that nobody finds it and the next one to look takes it for half-built."""
    if folder.name.startswith("."):
        return folder
    aside = folder.with_name(f".{folder.name}~{secrets.token_hex(4)}")
    try:
        folder.rename(aside)
    except OSError:  # another process has removed it
        return folder
    return aside


def sync(folder: Path) -> None:
    """Bring every file of a folder and their names to the disk, so that a rename never precedes its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            files.sync_names(path)
    files.sync_names(folder)
