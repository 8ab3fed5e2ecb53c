"""The data sets that the app can fetch itself: the two halves of the Tabula Muris Senis tutorial.

``python -m labeltransfer.data.catalogue KEY`` fetches one. The app starts that as a process of its own, which outlives
the browser, and reads how far it is from the size of the part and from a small JSON file beside it.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from labeltransfer import home
from labeltransfer.data import parts
from labeltransfer.data.download import DownloadCancelled
from labeltransfer.data.entries import CATALOGUE, CatalogueEntry, check_tutorial_subset
from labeltransfer.data.fetch import fetch, local_path, verify
from labeltransfer.errors import DownloadError, LabelTransferError
from labeltransfer.processes import is_held, start_module

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

FetchState = Literal["absent", "starting", "running", "interrupted", "failed", "cancelled", "done"]


@dataclass(frozen=True)
class FetchProgress:
    """How far a download is; ``n_done`` and ``n_total`` in bytes, ``n_total`` None where not known yet."""

    state: FetchState
    n_done: int = 0
    n_total: int | None = None
    error: str = ""
    bytes_per_second: float | None = None

    @property
    def active(self) -> bool:
        """Whether a process is at work; otherwise a new start goes on from ``n_done``."""
        return self.state in ("starting", "running")

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds still to wait at the speed so far, None where that cannot be told."""
        if not self.active or not self.bytes_per_second or self.n_total is None:
            return None
        return max(0.0, (self.n_total - self.n_done) / self.bytes_per_second)


def start_fetch(entry: CatalogueEntry) -> None:
    """Start a process that fetches the file and outlives this one; does nothing while one is at work.

    Raises
    ------
    DownloadError
        The process cannot be started.
    """
    if fetch_progress(entry).state in ("starting", "running", "done"):
        return
    try:
        _status_path(entry).parent.mkdir(parents=True, exist_ok=True)
        _cancel_path(entry).unlink(missing_ok=True)
        _log_path(entry).unlink(missing_ok=True)
        _write_status(entry, "starting")
        start_module("labeltransfer.data.catalogue", entry.key, log=_log_path(entry))
    except OSError as error:
        raise DownloadError(f"The download of {entry.title} cannot be started ({error.strerror}).") from error


def cancel_fetch(entry: CatalogueEntry) -> None:
    """Ask the process that fetches the file to stop; what has arrived is kept."""
    with suppress(OSError):
        _cancel_path(entry).touch()


def discard(entry: CatalogueEntry) -> None:
    """Delete the file, or what has arrived of it.

    Raises
    ------
    DownloadError
        It is being fetched.
    """
    if fetch_progress(entry).active:
        raise DownloadError(f"{entry.title} is being fetched: stop the download before you delete it.")
    parts.discard_part(local_path(entry))
    for path in (local_path(entry), _status_path(entry), _log_path(entry), _cancel_path(entry)):
        path.unlink(missing_ok=True)


def fetch_progress(entry: CatalogueEntry) -> FetchProgress:
    """How far the download is, cheap enough to be asked each second; a dead process shows as interrupted."""
    path = local_path(entry)
    if path.exists():
        size = path.stat().st_size
        return FetchProgress("done", size, size)
    # Whether a process lives is seen before its last words are read: it says them while it holds the lock. Seen again
    # afterwards, since it may have begun between the looks.
    at_work = _is_at_work(entry)
    status = _read_status(entry)
    at_work = at_work or (status.get("state") == "running" and _is_at_work(entry))
    version, n_done = parts.part_version(path), parts.part_size(path)
    n_total = version.n_total if version else None
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
        return fetch_progress(entry)
    error = status.get("error", "") if state == "failed" else ""
    if state == "interrupted":
        error = f"The download was interrupted{_last_word(entry)}: start it again to go on from where it was."
    return FetchProgress(state, n_done, n_total, error, status.get("bytes_per_second") if at_work else None)


def main(key: str) -> int:
    """Fetch one entry and leave word of how it went; the body of the process that ``start_fetch`` starts."""
    if key not in CATALOGUE:
        print(f"There is no data set '{key}': choose one of {', '.join(CATALOGUE)}.", file=sys.stderr)
        return 2
    entry = CATALOGUE[key]
    _status_path(entry).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_process_lock(entry))
    try:
        # Somebody who looks whether the lock is held holds it for an instant.
        lock.acquire(timeout=2)
    except Timeout:
        return 0
    try:
        return _fetch_and_tell(entry)
    finally:
        lock.release()


def _fetch_and_tell(entry: CatalogueEntry) -> int:
    try:
        fetch(entry, progress=_Watch(entry), cancelled=_cancel_path(entry).exists)
    except DownloadCancelled:
        _write_status(entry, "cancelled")
        return 130
    except LabelTransferError as error:
        print(error, file=sys.stderr)
        with suppress(OSError):  # where the disk is full the log has it
            _write_status(entry, "failed", error=str(error))
        return 2
    finally:
        _cancel_path(entry).unlink(missing_ok=True)
    for path in (_status_path(entry), _log_path(entry)):
        path.unlink(missing_ok=True)
    return 0


class _Watch:
    """Writes the speed of a download, at most once a second."""

    def __init__(self, entry: CatalogueEntry) -> None:
        self.entry = entry
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
                _write_status(self.entry, "running", bytes_per_second=speed)


def _write_status(entry: CatalogueEntry, state: FetchState, **values: Any) -> None:
    home.write_json(_status_path(entry), {"state": state, "time": time.time(), **values})


def _read_status(entry: CatalogueEntry) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        status = json.loads(_status_path(entry).read_text())
        if isinstance(status, dict) and isinstance(status.get("time"), float):
            return status
    return {}


def _last_word(entry: CatalogueEntry) -> str:
    """The last line that a dead process printed, in brackets."""
    with suppress(OSError):
        lines = _log_path(entry).read_text(errors="replace").strip().splitlines()
        return f" ({lines[-1][:300]})" if lines else ""
    return ""


def _is_at_work(entry: CatalogueEntry) -> bool:
    return is_held(_process_lock(entry)) or is_held(parts.lock_path(local_path(entry)))


def _beside(ending: str) -> Callable[[CatalogueEntry], Path]:
    return lambda entry: local_path(entry).with_name(f"{entry.file_name}.{ending}")


_status_path, _process_lock = _beside("fetch.json"), _beside("fetch.lock")
_cancel_path, _log_path = _beside("cancel"), _beside("log.txt")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
