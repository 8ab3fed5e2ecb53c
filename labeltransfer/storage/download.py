"""Fetch one big file over HTTP so that it arrives whole, once, and goes on where a broken connection left it.

While it arrives, ``NAME.part`` grows beside its place and ``NAME.part.json`` tells which version of the file on
which server it belongs to. Only a complete and checked part takes the final name.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from urllib3.exceptions import HTTPError

from labeltransfer.errors import DownloadError, LabelTransferError
from labeltransfer.storage.files import move_into_place
from labeltransfer.storage.http_answers import Broken, SourceError, request_rest, understand, validator
from labeltransfer.storage.parts import (
    Version,
    discard_part,
    forget_version,
    format_bytes,
    lock_path,
    part_path,
    part_size,
    part_version,
    write_version,
)

CHUNK = 1 << 20
"""Most bytes read at once."""
N_RETRIES = 5
"""Tries in a row without MIN_GAIN new bytes before a server that has answered is given up."""
N_RETRIES_SILENT = 2
"""The same for a server that has not answered once: nobody should wait long to learn that there is no network."""
MIN_GAIN = 1 << 20
"""New bytes after which the tries are counted from zero again."""
BACKOFF = 1.0
"""Seconds before the first retry, doubled for each further one."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file, None where unknown."""


class DownloadCancelled(DownloadError):
    """The user stopped the download; what has arrived is kept."""


def download(
    url: str,
    target: Path,
    *,
    n_bytes: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    check: Callable[[Path], None] | None = None,
    starts_with: bytes = b"",
) -> Path:
    """Fetch ``url`` to ``target`` unless it is there; resume what an earlier call left.

    Parameters
    ----------
    n_bytes
        Length of the file, where it is known for certain; any other length is refused.
    progress, cancelled
        Called at each block; the download stops once ``cancelled`` returns True.
    check
        Called with the complete part before it takes its name. Where it raises a LabelTransferError, the part is
        deleted.
    starts_with
        First bytes of every good file, so that a web page in its stead is noticed at once.

    Raises
    ------
    DownloadCancelled
        ``cancelled`` returned True.
    SourceError
        This server does not give the file; nothing of it was gained.
    DownloadError
        The connection kept breaking or the disk is full; what has arrived is kept and the next call goes on from it.
    """
    tell = progress or (lambda n_done, n_total: None)
    stop = cancelled or (lambda: False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target, tell, stop):
            if not target.exists():
                _fetch_part(url, target, n_bytes, tell, stop, starts_with)
                _finish(target, check)
    except requests.RequestException as error:  # a subclass of OSError: never let it pass for a full disk
        raise SourceError(f"{target.name} cannot be fetched from {url} ({error}).") from error
    except OSError as error:
        raise DownloadError(
            f"{target.name} cannot be written to {target.parent} ({error.strerror}): free some space or set "
            f"LABELTRANSFER_HOME to another disk, then start again; {format_bytes(part_size(target))} are kept."
        ) from error
    size = target.stat().st_size
    if n_bytes is not None and size != n_bytes:
        raise DownloadError(f"{target} has {size:,} bytes instead of {n_bytes:,}: delete it and fetch it again.")
    tell(size, size)
    return target


@contextmanager
def alone(target: Path, tell: Progress, stop: Callable[[], bool]) -> Iterator[None]:
    """Let one process at a time fetch ``target``; who waits sees how far the other one is."""
    lock = FileLock(lock_path(target))
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            version = part_version(target)
            tell(part_size(target), version.n_total if version else None)
            _stop_if_asked(target, stop)
    try:
        yield
    finally:
        lock.release()


def _fetch_part(
    url: str, target: Path, n_bytes: int | None, tell: Progress, stop: Callable[[], bool], starts_with: bytes
) -> None:
    """Try until the part is complete or nothing more comes."""
    version = part_version(target)
    size = part_size(target)
    if version and version.url == url and version.n_total == size and n_bytes in (None, size):
        return  # all bytes had arrived when the last process ended
    before = best = size if version and version.url == url else 0
    failures, answered = 0, False
    while True:
        _stop_if_asked(target, stop)
        try:
            with request_rest(url, target) as response:
                answered = True
                _receive(response, url, target, n_bytes, tell, stop, starts_with)
            return
        except Broken as error:
            reason = str(error)
        size = part_size(target)
        # Measured against the furthest point so far: a server that cannot resume must not be asked for ever.
        if size >= best + MIN_GAIN:
            failures = 0
        best = max(best, size)
        failures += 1
        if failures > (N_RETRIES if answered else N_RETRIES_SILENT):
            kept = f" {format_bytes(size)} are kept: start it again to go on from there." if size else ""
            kind = DownloadError if size > before else SourceError
            raise kind(f"{target.name} could not be fetched whole from {url}: {reason}.{kept}")
        wait_until = time.monotonic() + min(BACKOFF * 2 ** (failures - 1), 30)
        while (left := wait_until - time.monotonic()) > 0:
            _stop_if_asked(target, stop)
            time.sleep(min(left, 0.1))


def _receive(
    response: requests.Response,
    url: str,
    target: Path,
    n_bytes: int | None,
    tell: Progress,
    stop: Callable[[], bool],
    starts_with: bytes,
) -> None:
    """Append or write the body to the part; leaves when the announced end is reached."""
    start, n_total = understand(response, url, target)
    if n_total is not None and n_bytes is not None and n_total != n_bytes:
        raise SourceError(f"{url} offers {n_total:,} bytes where {target.name} has {n_bytes:,}: it is another file.")
    n_total = n_total if n_total is not None else n_bytes
    require_space(target, n_total, start)
    try:
        first = response.raw.read(len(starts_with), decode_content=False) if starts_with and not start else b""
        if not start and starts_with and first != starts_with[: len(first)]:
            kind = response.headers.get("Content-Type", "something else")
            raise SourceError(
                f"{url} sent {kind} instead of {target.name}: a sign-in page or a proxy may stand in between. Fetch "
                f"the file by hand and put it at {target}, or set LABELTRANSFER_MIRROR to a server that has it."
            )
        if not start:  # emptied before its version changes, so that a crash never pairs old bytes with a new version
            part_path(target).write_bytes(b"")
        write_version(target, Version(url, validator(response), n_total))
        with part_path(target).open("ab") as file:
            n_done = start
            block = first or response.raw.read1(CHUNK, decode_content=False)
            while block:
                file.write(block)
                n_done += len(block)
                if n_total is not None and n_done > n_total:
                    discard_part(target)
                    raise Broken(f"the server sent more than the {n_total:,} bytes that it announced")
                file.flush()
                tell(n_done, n_total)
                _stop_if_asked(target, stop)
                block = response.raw.read1(CHUNK, decode_content=False)
    except HTTPError as error:
        raise Broken(_how_far(target, n_total)) from error
    if n_total is not None and n_done != n_total:
        raise Broken(_how_far(target, n_total))


def _finish(target: Path, check: Callable[[Path], None] | None) -> None:
    """Check the complete part and give it its name."""
    part = part_path(target)
    try:
        if check is not None:
            check(part)
    except LabelTransferError:
        discard_part(target)
        raise
    move_into_place(part, target)
    forget_version(target)


def require_space(target: Path, n_total: int | None, n_there: int) -> None:
    """Raise DownloadError where the disk has no room for what is to come of ``n_total`` bytes."""
    free = shutil.disk_usage(target.parent).free
    # A part of another version is overwritten, so its room counts as free.
    free += part_size(target) - n_there
    if n_total is not None and n_total - n_there > free:
        raise DownloadError(
            f"{target.name} needs {format_bytes(n_total - n_there)} more on {target.parent}, which has "
            f"{format_bytes(free)} left: free some space or set LABELTRANSFER_HOME to another disk."
        )


def _how_far(target: Path, n_total: int | None) -> str:
    whole = f" of {format_bytes(n_total)}" if n_total is not None else ""
    return f"the connection ended after {format_bytes(part_size(target))}{whole}"


def _stop_if_asked(target: Path, stop: Callable[[], bool]) -> None:
    if stop():
        kept = format_bytes(part_size(target))
        raise DownloadCancelled(f"The download of {target.name} was stopped at {kept}; start it again to go on.")
