"""Ask a server for what is missing of a file, and judge what it answers."""

import re
from pathlib import Path

import requests

from labeltransfer.errors import DownloadError
from labeltransfer.storage.parts import discard_part, part_size, part_version

TIMEOUTS = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next byte."""


class SourceError(DownloadError):
    """The file is not to be had from this address; another one may give it."""


class Broken(Exception):
    """The connection or the answer broke; the next try may go better."""


def request_rest(url: str, target: Path) -> requests.Response:
    """Ask for the rest of the file if the part can be trusted to fit, else for the whole.

    Raises
    ------
    Broken
        The server does not answer.
    requests.RequestException
        Asking again would be of no use.
    """
    headers = {"Accept-Encoding": "identity"}
    version, size = part_version(target), part_size(target)
    if version and version.url == url and version.validator and size:
        headers |= {"Range": f"bytes={size}-", "If-Range": version.validator}
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
        raise
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Broken("the server cannot be reached") from error


def understand(response: requests.Response, url: str, target: Path) -> tuple[int, int | None]:
    """First byte and whole length that an answer offers, the length None where it is not told.

    Raises
    ------
    Broken
        The server has trouble, or sends what does not fit the part, which is then dropped.
    SourceError
        The file is not there.
    """
    status, name = response.status_code, target.name
    if status in (408, 416, 425, 429) or status >= 500:
        if status == 416:  # the file has become shorter than the part
            discard_part(target)
        raise Broken(f"the server answers {status}")
    if status not in (200, 206) or response.headers.get("Content-Encoding", "identity") != "identity":
        what = f"answers {status} {response.reason or ''}".strip() if status != 200 else "sends it in another encoding"
        raise SourceError(
            f"{url} {what}: {name} is not to be had there (any more). Fetch it by hand and put it at {target}, or set "
            "LABELTRANSFER_MIRROR to a server that has it."
        )
    length = _number(response.headers.get("Content-Length"))
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
        raise Broken("the server sent another part of the file than it was asked for")
    return start, n_total


def validator(response: requests.Response) -> str:
    """What identifies this version of the file in ``If-Range``: a strong ETag, else the date of its last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
