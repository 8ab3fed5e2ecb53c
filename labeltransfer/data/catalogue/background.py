"""Fetch data sets of the catalogue in a process that outlives the browser, and see how far it is.

``python -m labeltransfer.data.catalogue.background KEY [REQUEST]`` fetches one, or what is requested of it (see
``fetch_request``). The app starts that process and reads its progress from the size of the part and from a small JSON
file next to it.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter

from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry
from labeltransfer.data.catalogue.fetch import fetch
from labeltransfer.data.catalogue.fetch_request import FILE, FetchRequest, parse_request, target
from labeltransfer.data.catalogue.remote import fetch_cells, fetch_table
from labeltransfer.errors import DamagedError, DownloadError, LabelTransferError
from labeltransfer.processes import start_module
from labeltransfer.storage import files, kept
from labeltransfer.storage.download import DownloadCancelled, discard_part, lock_path, part_size, part_version
from labeltransfer.storage.locks import is_held
from labeltransfer.storage.records import Seconds, read_record, read_tail

STARTUP_GRACE = 60.0
"""Seconds that a new process has to report; after that it counts as dead."""

FetchState = Literal["absent", "starting", "running", "interrupted", "failed", "cancelled", "done"]


class _Status(BaseModel):
    """What the process writes of itself."""

    state: FetchState
    time: Seconds
    n_done: int | None = None
    n_total: int | None = None
    bytes_per_second: float | None = None
    error: str = ""


_STATUS = TypeAdapter(_Status)


@dataclass(frozen=True)
class FetchProgress:
    """How far a download is; ``n_done`` and ``n_total`` in bytes, ``n_total`` None where not known yet.

    Of a whole file, a new start continues from ``n_done``; its table or cells are fetched from the beginning.
    """

    state: FetchState
    n_done: int = 0
    n_total: int | None = None
    error: str = ""
    bytes_per_second: float | None = None

    @property
    def active(self) -> bool:
        """Whether a process is running."""
        return self.state in ("starting", "running")

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds still to wait at the rate so far, None where unknown."""
        if not self.active or not self.bytes_per_second or self.n_total is None:
            return None
        return max(0.0, (self.n_total - self.n_done) / self.bytes_per_second)


def start_fetch(entry: CatalogueEntry, request: FetchRequest = FILE) -> None:
    """Start a process that fetches what is requested and outlives this one; does nothing while one is running.

    Raises
    ------
    DownloadError
        The process cannot be started.
    """
    if fetch_progress(entry, request).state in ("starting", "running", "done"):
        return
    path = target(entry, request)
    try:
        _status_path(path).parent.mkdir(parents=True, exist_ok=True)
        _cancel_path(path).unlink(missing_ok=True)
        _log_path(path).unlink(missing_ok=True)
        _write_status(path, "starting")
        start_module("labeltransfer.data.catalogue.background", entry.key, request.argument(), log=_log_path(path))
    except OSError as error:
        raise DownloadError(f"The download of {entry.title} cannot be started ({error.strerror}).") from error


def cancel_fetch(entry: CatalogueEntry, request: FetchRequest = FILE) -> None:
    """Ask the process that fetches it to stop; what has arrived of a whole file is kept."""
    with suppress(OSError):
        _cancel_path(target(entry, request)).touch()


def discard(entry: CatalogueEntry, request: FetchRequest = FILE) -> None:
    """Delete the file, or what has arrived of it.

    Raises
    ------
    DownloadError
        It is being fetched.
    """
    path = target(entry, request)
    if fetch_progress(entry, request).active:
        raise DownloadError(f"{entry.title} is being fetched: stop the download before you delete it.")
    discard_part(path)
    kept.forget(path)
    for left in (_status_path(path), _log_path(path), _cancel_path(path)):
        left.unlink(missing_ok=True)


def fetch_progress(entry: CatalogueEntry, request: FetchRequest = FILE) -> FetchProgress:
    """How far the download is, cheap enough to call each second; a dead process shows as interrupted."""
    path = target(entry, request)
    if is_fetched(path):
        size = path.stat().st_size
        return FetchProgress("done", size, size)
    # Whether a process is running is checked before its status is read, which it writes while it holds the lock; and
    # again afterwards, since it may have started in between.
    is_running = _is_running(path)
    status = _read_status(path)
    is_running = is_running or (status.get("state") == "running" and _is_running(path))
    version, n_done = part_version(path), part_size(path)
    n_total = version.n_total if version else None
    if request.what != "file":
        n_done, n_total = (status.get("n_done") or 0, status.get("n_total")) if is_running else (0, None)
    state: FetchState
    if is_running:
        state = "running"
    elif status.get("state") == "starting" and time.time() - status["time"] < STARTUP_GRACE:
        state = "starting"
    elif status.get("state") in ("failed", "cancelled"):
        state = status["state"]
    elif status or n_done:
        state = "interrupted"
    else:
        state = "absent"
    if is_fetched(path):  # it was completed in between
        return fetch_progress(entry, request)
    error = status.get("error", "") if state == "failed" else ""
    if state == "interrupted":
        again = "start it again" + (" to go on from where it was" if request.what == "file" else "")
        error = f"The download was interrupted{_last_log_line(path)}: {again}."
    return FetchProgress(state, n_done, n_total, error, status.get("bytes_per_second") if is_running else None)


def is_fetched(path: Path) -> bool:
    """Whether a file is there that a page may offer: what was kept, as far as its size and time of change show.

    Where these have changed, its content decides. One that was put there by hand is believed until it is fetched.
    """
    return path.is_file() and (not kept.is_sealed(path) or kept.is_whole(path, quick=True))


def main(key: str, argument: str = FILE.argument()) -> int:
    """Fetch what is requested of one entry and write down how it went; the process that ``start_fetch`` starts."""
    if key not in CATALOGUE:
        print(f"There is no data set '{key}': choose one of {', '.join(CATALOGUE)}.", file=sys.stderr)
        return 2
    try:
        entry, request = CATALOGUE[key], parse_request(argument)
    except DownloadError as error:
        print(error, file=sys.stderr)
        return 2
    path = target(entry, request)
    _status_path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_process_lock(path))
    try:
        # A process that checks whether the lock is held holds it for an instant.
        lock.acquire(timeout=2)
    except Timeout:
        return 0
    try:
        return _fetch_and_report(entry, request)
    finally:
        lock.release()


def _fetch_and_report(entry: CatalogueEntry, request: FetchRequest) -> int:
    path = target(entry, request)
    watch, cancelled = _StatusWriter(path), _cancel_path(path).exists
    try:
        if request.what == "file":
            fetch(entry, progress=watch, cancelled=cancelled)
        elif request.what == "table":
            fetch_table(entry, progress=watch, cancelled=cancelled)
        else:
            fetch_cells(entry, dict(request.filters), progress=watch, cancelled=cancelled)
    except DownloadCancelled:
        _write_status(path, "cancelled")
        return 130
    except LabelTransferError as error:
        print(error, file=sys.stderr)
        with suppress(OSError):  # where the disk is full the log has it
            _write_status(path, "failed", error=str(error))
        return 2
    finally:
        _cancel_path(path).unlink(missing_ok=True)
    for left in (_status_path(path), _log_path(path)):
        left.unlink(missing_ok=True)
    return 0


class _StatusWriter:
    """Writes how far and how fast a download is, at most once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun: tuple[float, int] | None = None
        self.written = 0.0

    def __call__(self, n_done: int, n_total: int | None) -> None:
        now = time.time()
        if self.begun is None or n_done < self.begun[1]:
            self.begun = (now, n_done)
        if now - self.written >= 1:
            self.written = now
            seconds = now - self.begun[0]
            speed = (n_done - self.begun[1]) / seconds if seconds > 0 else None
            with suppress(OSError):
                _write_status(self.path, "running", bytes_per_second=speed, n_done=n_done, n_total=n_total)


def _write_status(path: Path, state: FetchState, **values: Any) -> None:
    files.write_json(_status_path(path), {"state": state, "time": time.time(), **values})


def _read_status(path: Path) -> dict[str, Any]:
    with suppress(DamagedError):
        found = read_record(_status_path(path), _STATUS)
        return found.model_dump(exclude_unset=True) if found else {}
    return {}


def _last_log_line(path: Path) -> str:
    """The last line that a dead process printed, in brackets."""
    lines = read_tail(_log_path(path)).strip().splitlines()
    return f" ({lines[-1][:300]})" if lines else ""


def _is_running(path: Path) -> bool:
    return is_held(_process_lock(path)) or is_held(lock_path(path))


def _sibling(ending: str) -> Callable[[Path], Path]:
    return lambda path: path.with_name(f"{path.name}.{ending}")


_status_path, _process_lock = _sibling("fetch.json"), _sibling("fetch.lock")
_cancel_path, _log_path = _sibling("cancel"), _sibling("log.txt")


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:3] or [""])))
