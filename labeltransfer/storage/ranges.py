"""A file on a web server, read in parts: what is asked for is fetched by HTTP ranges, and every byte is counted.

It is an fsspec file, so h5py reads from it as from any other. What goes over the wire is asked for here and not by
fsspec's own HTTP file system, which takes whatever a server sends for the part that was asked for, and knows of no
versions: half of a file's old and half of its new version would become one matrix.
"""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from fsspec.spec import AbstractBufferedFile
from urllib3.exceptions import HTTPError

from labeltransfer.storage import download
from labeltransfer.storage.download import DownloadCancelled
from labeltransfer.storage.http_answers import TIMEOUTS, Broken, SourceError, validator
from labeltransfer.storage.range_cache import Blocks, Span

CONNECTIONS = 4
"""Requests at once, for reads that are long enough to be split; few, so that no server minds."""
PIECE = 2 * 2**20
"""Bytes of one request where a read is split: long enough that the wait before it hardly counts."""
N_TRIES = 4
"""Tries of one request before the server is given up."""
_RECEIVE = 256 * 2**10


class NoRangesError(SourceError):
    """The server does not send parts of the file, or not such as can be trusted to belong together."""


class ChangedError(SourceError):
    """The file became another one while it was read."""


class RangeFile(AbstractBufferedFile):
    """A remote file of one version, read only.

    Attributes
    ----------
    url
        Address that was asked for.
    size
        Length of the whole file in bytes.
    validator
        What identifies its version: a strong ETag, else the date of its last change.
    n_received, n_requests
        Bytes of the file that came over the wire, those of broken tries included, and requests that were made.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        tell: Callable[[int], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Ask for the first bytes, which shows whether and what the server sends.

        Parameters
        ----------
        url
            Its address; http or https.
        name
            What it is called in messages.
        tell
            Called with the bytes received so far.
        stop
            Asked at every block; reading ends with DownloadCancelled once it returns True.

        Raises
        ------
        NoRangesError
            The server sends the whole file only, or does not say how long it is or which version.
        SourceError
            The file is not to be had from there.
        """
        self.closed = True  # until it is open: what is let go of half made closes itself
        self.url, self.name = url, name
        self._address = url  # where the last answer came from: a redirect is followed once, not for every part
        self._tell, self._stop = tell or (lambda n_received: None), stop or (lambda: False)
        self._counting = threading.Lock()
        self.n_received = self.n_requests = 0
        self.validator, self.size = "", -1
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        try:
            first = self._fetch_range(0, Blocks.SIZE)
        except BaseException:
            self._session.close()
            raise
        super().__init__(None, url, block_size=Blocks.SIZE, cache_type="none", size=self.size)
        self.cache = Blocks(Blocks.SIZE, self._fetch_spans, self.size)
        self.cache.put(0, first)

    def __repr__(self) -> str:
        return self.name  # what h5py takes for the name of the file

    def announce(self, n_bytes: int) -> None:
        """Say how many bytes in a row the coming read of values needs, so that they are fetched at once."""
        self.cache.announce(n_bytes)

    def close(self) -> None:
        """End the connections."""
        super().close()
        self._session.close()

    def _fetch_spans(self, spans: list[Span]) -> list[bytes]:
        """Bytes of each span, several requests at a time where there is more than one."""
        if len(spans) == 1 and spans[0][1] - spans[0][0] <= PIECE:
            return [self._fetch_range(*spans[0])]
        pieces = [(at, min(at + PIECE, end)) for start, end in spans for at in range(start, end, PIECE)]
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            parts = iter(list(pool.map(lambda piece: self._fetch_range(*piece), pieces)))
        finally:
            pool.shutdown(cancel_futures=True)
        return [b"".join(next(parts) for _ in range(start, end, PIECE)) for start, end in spans]

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Bytes start..end-1, shorter only where the file ends; tries again where the connection breaks."""
        for failures in range(1, N_TRIES + 1):
            try:
                return self._request(start, end)
            except Broken as error:
                reason = str(error)
            if failures < N_TRIES:
                wait_until = time.monotonic() + download.BACKOFF * 2 ** (failures - 1)
                while (left := wait_until - time.monotonic()) > 0:
                    self._stop_if_asked()
                    time.sleep(min(left, 0.1))
        raise SourceError(f"{self.name} could not be read in parts from {self.url}: {reason}.")

    def _request(self, start: int, end: int) -> bytes:
        self._stop_if_asked()
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{end - 1}"}
        headers |= {"If-Range": self.validator} if self.validator else {}
        with self._counting:
            self.n_requests += 1
        try:
            address = self._address
            with self._session.get(address, headers=headers, stream=True, timeout=TIMEOUTS) as response:
                redirected = address != self.url or bool(response.history)
                n_bytes = self._understand(response, start, end, redirected=redirected)
                self._address = response.url
                return self._receive(response, n_bytes)
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise SourceError(f"{self.name} cannot be read from {self.url} ({error}).") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Broken("the server cannot be reached") from error
        except requests.RequestException as error:
            raise SourceError(f"{self.name} cannot be read from {self.url} ({error}).") from error

    def _understand(self, response: requests.Response, start: int, end: int, *, redirected: bool) -> int:
        """Length of the part that an answer brings; raises where it is not the part that was asked for."""
        status, said = response.status_code, response.headers
        if status in (408, 425, 429) or status >= 500:
            raise Broken(f"the server answers {status}")
        if status not in (200, 206, 416):
            if redirected:  # where a redirect led is often valid for a while only; other connections may know already
                self._address = self.url
                raise Broken(f"the server answers {status}")
            raise SourceError(f"{self.url} answers {status} {response.reason or ''}".strip() + ": it is not there.")
        version = validator(response)
        if self.validator and (version not in ("", self.validator) or status != 206):
            raise ChangedError(f"{self.name} changed at {self.url} while it was read: start again.")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said.get("Content-Range", "").strip())
        if status != 206 or not match or said.get("Content-Encoding", "identity") != "identity":
            raise NoRangesError(_no_parts(self.url, "sends the file as a whole only"))
        first, last, n_total = map(int, match.groups())
        n_bytes = min(end, n_total) - start
        if (first, last - first + 1) != (start, n_bytes) or said.get("Content-Length", str(n_bytes)) != str(n_bytes):
            raise NoRangesError(_no_parts(self.url, "sends other parts than it is asked for"))
        if not version and not self.validator:
            raise NoRangesError(_no_parts(self.url, "does not say which version of the file it sends"))
        if self.size not in (-1, n_total):
            raise ChangedError(f"{self.name} changed at {self.url} while it was read: start again.")
        self.validator, self.size = self.validator or version, n_total
        return n_bytes

    def _receive(self, response: requests.Response, n_bytes: int) -> bytes:
        body = bytearray()
        try:
            while len(body) < n_bytes:
                block = response.raw.read1(min(_RECEIVE, n_bytes - len(body)), decode_content=False)
                if not block:
                    break
                body += block
                with self._counting:
                    self.n_received += len(block)
                    self._tell(self.n_received)
                self._stop_if_asked()
        except HTTPError as error:
            raise Broken("the connection broke") from error
        if len(body) < n_bytes:
            raise Broken("the connection ended too early")
        return bytes(body)

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise DownloadCancelled(f"Reading {self.name} was stopped.")


def _no_parts(url: str, why: str) -> str:
    return f"{url} {why}, so that no cells can be chosen before it is downloaded: download the whole file."
