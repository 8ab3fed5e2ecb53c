"""Fetch one big file over HTTP so that it arrives whole, once, and continues where a broken connection left it.

While it arrives, ``NAME.part`` grows next to its place and ``NAME.part.json`` says which version of the file on which
server it belongs to. Only a complete and checked part takes the final name. One process at a time fetches a file.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from urllib3.exceptions import HTTPError

from labeltransfer import units
from labeltransfer.errors import DamagedError, DownloadError, LabelTransferError
from labeltransfer.storage import addresses, files, kept
from labeltransfer.storage.records import read_record

CHUNK = 1 << 20
"""Most bytes read at once."""
N_RETRIES = 5
"""Tries in a row without MIN_GAIN new bytes, for a server that has answered, before giving up."""
N_RETRIES_SILENT = 2
"""The same for a server that has not answered once: it should not take long to learn that there is no network."""
MIN_GAIN = 1 << 20
"""New bytes after which the tries are counted from zero again."""
BACKOFF = 1.0
"""Seconds before the first retry, doubled for each further one."""

TIMEOUTS = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next byte."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file, None where unknown."""


class DownloadCancelled(DownloadError):
    """The user stopped the download; what has arrived is kept."""


class SourceError(DownloadError):
    """One address does not give the file; another one may."""


class TransientError(Exception):
    """The connection or the response broke; the next try may succeed."""


@dataclass(frozen=True)
class RemoteVersion:
    """Which version of which file a part belongs to; ``n_total`` is its length in bytes."""

    url: str
    validator: str
    n_total: int | None


_VERSION = TypeAdapter(RemoteVersion)


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
    """Fetch ``url`` to ``target`` unless it is there and whole; resume what an earlier call left.

    What is there is believed while it is what was kept, see :mod:`.kept`; without a note it is checked like what
    arrives. What is damaged is fetched again.

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
        First bytes of every good file, so that a web page in its place is noticed at once.

    Raises
    ------
    DownloadCancelled
        ``cancelled`` returned True.
    SourceError
        This server does not give the file; nothing of it was gained.
    DownloadError
        The connection kept breaking or the disk is full; what has arrived is kept and the next call goes on from it.
    """
    report = progress or (lambda n_done, n_total: None)
    is_cancelled = cancelled or (lambda: False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target, report, is_cancelled):
            if not is_good(target, n_bytes, check):
                _fetch_part(url, target, n_bytes, report, is_cancelled, starts_with)
                _finish(target, check)
    except addresses.PrivateAddressError as error:
        raise SourceError(f"{target.name} cannot be fetched from {url}. {error}") from error
    except requests.RequestException as error:  # a subclass of OSError, which must not be reported as a full disk
        raise SourceError(f"{target.name} cannot be fetched from {url} ({error}).") from error
    except OSError as error:
        raise DownloadError(
            f"{target.name} cannot be written to {target.parent} ({error.strerror}): free some space or set "
            f"LABELTRANSFER_HOME to another disk, then start again; {units.size(part_size(target))} are kept."
        ) from error
    size = target.stat().st_size
    report(size, size)
    return target


@contextmanager
def exclusive(target: Path, report: Progress, is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Let one process at a time fetch ``target``; one that waits reports how far the other one is."""
    lock = FileLock(lock_path(target))
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            version = part_version(target)
            report(part_size(target), version.n_total if version else None)
            _raise_if_cancelled(target, is_cancelled)
    try:
        yield
    finally:
        lock.release()


def _fetch_part(
    url: str, target: Path, n_bytes: int | None, report: Progress, is_cancelled: Callable[[], bool], starts_with: bytes
) -> None:
    """Try until the part is complete or nothing more arrives."""
    version = part_version(target)
    size = part_size(target)
    if version and version.url == url and version.n_total == size and n_bytes in (None, size):
        return  # all bytes had arrived when the last process ended
    before = best = size if version and version.url == url else 0
    failures, answered = 0, False
    while True:
        _raise_if_cancelled(target, is_cancelled)
        try:
            with addresses.session(url) as session, _request_remaining(session, url, target) as response:
                answered = True
                _receive(response, url, target, n_bytes, report, is_cancelled, starts_with)
            return
        except TransientError as error:
            reason = str(error)
        size = part_size(target)
        # Measured against the furthest point so far: a server that cannot resume must not be asked forever.
        if size >= best + MIN_GAIN:
            failures = 0
        best = max(best, size)
        failures += 1
        if failures > (N_RETRIES if answered else N_RETRIES_SILENT):
            kept = f" {units.size(size)} are kept: start it again to go on from there." if size else ""
            kind = DownloadError if size > before else SourceError
            raise kind(f"{target.name} could not be fetched whole from {url}: {reason}.{kept}")
        wait_until = time.monotonic() + min(BACKOFF * 2 ** (failures - 1), 30)
        while (left := wait_until - time.monotonic()) > 0:
            _raise_if_cancelled(target, is_cancelled)
            time.sleep(min(left, 0.1))


def _receive(
    response: requests.Response,
    url: str,
    target: Path,
    n_bytes: int | None,
    report: Progress,
    is_cancelled: Callable[[], bool],
    starts_with: bytes,
) -> None:
    """Append or write the body to the part; returns at the announced end."""
    start, n_total = _parse_response(response, url, target)
    if n_total is not None and n_bytes is not None and n_total != n_bytes:
        raise SourceError(f"{url} offers {n_total:,} bytes where {target.name} has {n_bytes:,}: it is another file.")
    n_total = n_total if n_total is not None else n_bytes
    require_space(target, n_total, start)
    try:
        first = response.raw.read(len(starts_with), decode_content=False) if starts_with and not start else b""
        if not start and starts_with and first != starts_with[: len(first)]:
            kind = response.headers.get("Content-Type", "something else")
            raise SourceError(
                f"{url} sent {kind} instead of {target.name}: a sign-in page or a proxy may be in between. Fetch "
                f"the file by hand and put it at {target}, or set LABELTRANSFER_MIRROR to a server that has it."
            )
        if not start:  # emptied before its version changes, so that a crash never pairs old bytes with a new version
            part_path(target).write_bytes(b"")
        _write_version(target, RemoteVersion(url, validator(response), n_total))
        with part_path(target).open("ab") as file:
            n_done = start
            block = first or response.raw.read1(CHUNK, decode_content=False)
            while block:
                file.write(block)
                n_done += len(block)
                if n_total is not None and n_done > n_total:
                    discard_part(target)
                    raise TransientError(f"the server sent more than the {n_total:,} bytes that it announced")
                file.flush()
                report(n_done, n_total)
                _raise_if_cancelled(target, is_cancelled)
                block = response.raw.read1(CHUNK, decode_content=False)
    except HTTPError as error:
        raise TransientError(_how_far_words(target, n_total)) from error
    if n_total is not None and n_done != n_total:
        raise TransientError(_how_far_words(target, n_total))


def _finish(target: Path, check: Callable[[Path], None] | None) -> None:
    """Check the complete part and give it its name."""
    part = part_path(target)
    try:
        if check is not None:
            check(part)
    except LabelTransferError:
        discard_part(target)
        raise
    files.move_into_place(part, target)
    _forget_version(target)
    kept.seal(target)


def is_good(target: Path, n_bytes: int | None = None, check: Callable[[Path], None] | None = None) -> bool:
    """Whether a file is there and what was kept, see :mod:`.kept`.

    One without a note, from before there were any or put there by hand, is noted once ``check``, as of
    :func:`download`, has found it good.
    """
    if kept.is_sealed(target):
        return kept.is_whole(target)
    if not target.is_file() or n_bytes not in (None, target.stat().st_size):
        return False
    try:
        if check is not None:
            check(target)
    except LabelTransferError:
        return False
    kept.seal(target)
    return True


def require_space(target: Path, n_total: int | None, n_there: int) -> None:
    """Raise DownloadError where the disk has no room for the remaining bytes of ``n_total``."""
    free = shutil.disk_usage(target.parent).free
    # A part of another version is overwritten, so its room counts as free.
    free += part_size(target) - n_there
    if n_total is not None and n_total - n_there > free:
        raise DownloadError(
            f"{target.name} needs {units.size(n_total - n_there)} more on {target.parent}, which has "
            f"{units.size(free)} left: free some space or set LABELTRANSFER_HOME to another disk."
        )


def _how_far_words(target: Path, n_total: int | None) -> str:
    whole = f" of {units.size(n_total)}" if n_total is not None else ""
    return f"the connection ended after {units.size(part_size(target))}{whole}"


def _raise_if_cancelled(target: Path, is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        kept = units.size(part_size(target))
        raise DownloadCancelled(f"The download of {target.name} was stopped at {kept}; start it again to go on.")


def _request_remaining(session: requests.Session, url: str, target: Path) -> requests.Response:
    """Ask for the rest of the file where the part is known to fit, else for the whole file.

    Raises
    ------
    TransientError
        The server does not answer.
    requests.RequestException
        Asking again would not help.
    """
    headers = {"Accept-Encoding": "identity"}
    version, size = part_version(target), part_size(target)
    if version and version.url == url and version.validator and size:
        headers |= {"Range": f"bytes={size}-", "If-Range": version.validator}
    try:
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUTS)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
        raise
    except (requests.ConnectionError, requests.Timeout) as error:
        raise TransientError("the server cannot be reached") from error


def _parse_response(response: requests.Response, url: str, target: Path) -> tuple[int, int | None]:
    """First byte and whole length that a response offers, the length None where it is not given.

    Raises
    ------
    TransientError
        The server has trouble, or sends what does not fit the part, which is then dropped.
    SourceError
        The file is not there.
    """
    status, name = response.status_code, target.name
    if status in (408, 416, 425, 429) or status >= 500:
        if status == 416:  # the file has become shorter than the part
            discard_part(target)
        raise TransientError(f"the server answers {status}")
    if status not in (200, 206) or response.headers.get("Content-Encoding", "identity") != "identity":
        what = f"answers {status} {response.reason or ''}".strip() if status != 200 else "sends it in another encoding"
        raise SourceError(
            f"{url} {what}: {name} is not available there (any more). Fetch it by hand and put it at {target}, or set "
            "LABELTRANSFER_MIRROR to a server that has it."
        )
    length = _whole_number(response.headers.get("Content-Length"))
    if status == 200:
        return 0, length
    version, size = part_version(target), part_size(target)
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    start, last, n_total = map(int, match.groups()) if match else (-1, -1, -1)
    fits = (
        version is not None
        and (start, last) == (size, n_total - 1)
        and version.n_total in (None, n_total)
        and length in (None, n_total - size)
        and validator(response) in ("", version.validator)
    )
    if not fits:
        discard_part(target)
        raise TransientError("the server sent another part of the file than it was asked for")
    return start, n_total


def validator(response: requests.Response) -> str:
    """What identifies this version of the file in ``If-Range``: a strong ETag, else the date of its last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def part_path(target: Path) -> Path:
    """Where the bytes of ``target`` are written until they are complete."""
    return target.with_name(target.name + ".part")


def part_size(target: Path) -> int:
    """Bytes of ``target`` that have arrived, 0 where none."""
    try:
        return part_path(target).stat().st_size
    except FileNotFoundError:
        return 0


def part_version(target: Path) -> RemoteVersion | None:
    """What the part of ``target`` belongs to, None where unknown."""
    try:
        return read_record(_version_path(target), _VERSION)
    except DamagedError:
        return None


def _write_version(target: Path, version: RemoteVersion) -> None:
    """Note what the part of ``target`` belongs to."""
    files.write_json(_version_path(target), asdict(version))


def _forget_version(target: Path) -> None:
    """Remove the note, once the part has become the file."""
    _version_path(target).unlink(missing_ok=True)


def discard_part(target: Path) -> None:
    """Forget what has arrived of ``target``."""
    part_path(target).unlink(missing_ok=True)
    _version_path(target).unlink(missing_ok=True)


def lock_path(target: Path) -> Path:
    """The lock of the one process that fetches ``target``."""
    return target.with_name(target.name + ".lock")


def _version_path(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")
