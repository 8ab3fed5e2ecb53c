"""The data sets that the app can fetch itself: the two halves of the Tabula Muris Senis tutorial.

``python -m labeltransfer.data.catalogue.background KEY [ORDER]`` fetches one, or what is ordered of it (see
``fetch_request``). The app starts that as a process of its own, which outlives the browser, and reads how far it is
from the size of the part and from a small JSON file next to it.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry, check_tutorial_subset
from labeltransfer.data.catalogue.fetch import fetch, local_path, verify
from labeltransfer.data.catalogue.fetch_request import FILE, FetchProgress, FetchState, Order, order_from, target
from labeltransfer.data.catalogue.remote import fetch_cells, fetch_table
from labeltransfer.errors import DownloadError, LabelTransferError
from labeltransfer.processes import start_module
from labeltransfer.storage import files, parts
from labeltransfer.storage.download import DownloadCancelled
from labeltransfer.storage.locks import is_held

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "FetchProgress",
    "cancel_fetch",
    "check_tutorial_subset",
    "discard",
    "fetch",
    "fetch_progress",
    "local_path",
    "start_fetch",
    "verify",
]

STARTUP_GRACE = 60.0
"""Seconds that a new process has to report; after that it is taken for dead."""


def start_fetch(entry: CatalogueEntry, order: Order = FILE) -> None:
    """Start a process that fetches what is ordered and outlives this one; does nothing while one is at work.

    Raises
    ------
    DownloadError
        The process cannot be started.
    """
    if fetch_progress(entry, order).state in ("starting", "running", "done"):
        return
    path = target(entry, order)
    try:
        _status_path(path).parent.mkdir(parents=True, exist_ok=True)
        _cancel_path(path).unlink(missing_ok=True)
        _log_path(path).unlink(missing_ok=True)
        _write_status(path, "starting")
        start_module("labeltransfer.data.catalogue.background", entry.key, order.argument(), log=_log_path(path))
    except OSError as error:
        raise DownloadError(f"The download of {entry.title} cannot be started ({error.strerror}).") from error


def cancel_fetch(entry: CatalogueEntry, order: Order = FILE) -> None:
    """Ask the process that fetches it to stop; what has arrived of a whole file is kept."""
    with suppress(OSError):
        _cancel_path(target(entry, order)).touch()


def discard(entry: CatalogueEntry, order: Order = FILE) -> None:
    """Delete the file, or what has arrived of it.

    Raises
    ------
    DownloadError
        It is being fetched.
    """
    path = target(entry, order)
    if fetch_progress(entry, order).active:
        raise DownloadError(f"{entry.title} is being fetched: stop the download before you delete it.")
    parts.discard_part(path)
    for kept in (path, _status_path(path), _log_path(path), _cancel_path(path)):
        kept.unlink(missing_ok=True)


def fetch_progress(entry: CatalogueEntry, order: Order = FILE) -> FetchProgress:
    """How far the download is, cheap enough to be asked each second; a dead process shows as interrupted."""
    path = target(entry, order)
    if path.exists():
        size = path.stat().st_size
        return FetchProgress("done", size, size)
    # Whether a process lives is seen before its last words are read: it says them while it holds the lock. Seen again
    # afterwards, since it may have begun between the looks.
    at_work = _is_at_work(path)
    status = _read_status(path)
    at_work = at_work or (status.get("state") == "running" and _is_at_work(path))
    version, n_done = parts.part_version(path), parts.part_size(path)
    n_total = version.n_total if version else None
    if order.what != "file":
        n_done, n_total = (status.get("n_done") or 0, status.get("n_total")) if at_work else (0, None)
    state: FetchState
    if at_work:
        state = "running"
    elif status.get("state") == "starting" and time.time() - status["time"] < STARTUP_GRACE:
        state = "starting"
    elif status.get("state") in ("failed", "cancelled"):
        state = status["state"]
    elif status or n_done:
        state = "interrupted"
    else:
        state = "absent"
    if path.exists():  # it was completed between the looks
        return fetch_progress(entry, order)
    error = status.get("error", "") if state == "failed" else ""
    if state == "interrupted":
        again = "start it again" + (" to go on from where it was" if order.what == "file" else "")
        error = f"The download was interrupted{_last_word(path)}: {again}."
    return FetchProgress(state, n_done, n_total, error, status.get("bytes_per_second") if at_work else None)


def main(key: str, argument: str = FILE.argument()) -> int:
    """Fetch what is ordered of one entry and leave word of how it went; the process that ``start_fetch`` starts."""
    if key not in CATALOGUE:
        print(f"There is no data set '{key}': choose one of {', '.join(CATALOGUE)}.", file=sys.stderr)
        return 2
    try:
        entry, order = CATALOGUE[key], order_from(argument)
    except DownloadError as error:
        print(error, file=sys.stderr)
        return 2
    path = target(entry, order)
    _status_path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_process_lock(path))
    try:
        # Somebody who looks whether the lock is held holds it for an instant.
        lock.acquire(timeout=2)
    except Timeout:
        return 0
    try:
        return _fetch_and_tell(entry, order)
    finally:
        lock.release()


def _fetch_and_tell(entry: CatalogueEntry, order: Order) -> int:
    path = target(entry, order)
    watch, cancelled = _Watch(path), _cancel_path(path).exists
    try:
        if order.what == "file":
            fetch(entry, progress=watch, cancelled=cancelled)
        elif order.what == "table":
            fetch_table(entry, progress=watch, cancelled=cancelled)
        else:
            fetch_cells(entry, dict(order.filters), progress=watch, cancelled=cancelled)
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
    for kept in (_status_path(path), _log_path(path)):
        kept.unlink(missing_ok=True)
    return 0


class _Watch:
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
    with suppress(OSError, ValueError):
        status = json.loads(_status_path(path).read_text())
        if isinstance(status, dict) and isinstance(status.get("time"), float):
            return status
    return {}


def _last_word(path: Path) -> str:
    """The last line that a dead process printed, in brackets."""
    with suppress(OSError):
        lines = _log_path(path).read_text(errors="replace").strip().splitlines()
        return f" ({lines[-1][:300]})" if lines else ""
    return ""


def _is_at_work(path: Path) -> bool:
    return is_held(_process_lock(path)) or is_held(parts.lock_path(path))


def _beside(ending: str) -> Callable[[Path], Path]:
    return lambda path: path.with_name(f"{path.name}.{ending}")


_status_path, _process_lock = _beside("fetch.json"), _beside("fetch.lock")
_cancel_path, _log_path = _beside("cancel"), _beside("log.txt")


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:3] or [""])))
