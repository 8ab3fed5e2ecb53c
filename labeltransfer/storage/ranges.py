"""A file on a web server, read in parts: what is read is fetched by HTTP ranges, and every byte is counted.

It is an fsspec file, so h5py reads from it as from any other. The requests are made here and not by
fsspec's own HTTP file system, which takes anything that a server sends for the range it requested, and does not check
versions: half of a file's old and half of its new version would become one matrix.

Each request costs a round trip of some 10 to 100 ms, in which a connection of 10 to 50 MB/s would have brought a
megabyte. HDF5 reads hundreds of small things that are near one another (headers, nodes, texts), columns from end to
end, and spans of a matrix. So the cache keeps small blocks, a read that continues where another ended fetches twice as
much each time, and a caller that knows how long a span will be says so beforehand.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import requests
from fsspec.caching import BaseCache
from fsspec.spec import AbstractBufferedFile
from urllib3.exceptions import HTTPError

from labeltransfer.storage import addresses, download
from labeltransfer.storage.download import TIMEOUTS, DownloadCancelled, SourceError, TransientError, validator

CONNECTIONS = 4
"""Requests at once, for reads that are long enough to be split; few, so as not to burden a server."""
PIECE = 2 * 2**20
"""Bytes of one request where a read is split: long enough that the wait before it hardly counts."""
N_TRIES = 4
"""Tries of one request before the server is given up."""
_RECEIVE = 256 * 2**10

Span = tuple[int, int]
"""First byte, and the byte behind the last."""


class NoRangesError(SourceError):
    """The server does not send parts of the file, or none that are known to belong together."""


class ChangedError(SourceError):
    """The file changed while it was read."""


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
        progress: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Ask for the first bytes, which shows whether and what the server sends.

        Parameters
        ----------
        url
            Its address; http or https.
        name
            What it is called in messages.
        progress
            Called with the bytes received so far.
        cancelled
            Called at every block; reading ends with DownloadCancelled once it returns True.

        Raises
        ------
        NoRangesError
            The server sends the whole file only, or does not say how long it is or which version.
        SourceError
            The server does not give the file.
        """
        self.closed = True  # until it is open: fsspec closes what is dropped half made
        self.url, self.name = url, name
        self._address = url  # where the last answer came from: a redirect is followed once, not for every part
        self._progress, self._cancelled = progress or (lambda n_received: None), cancelled or (lambda: False)
        self._counting = threading.Lock()
        self.n_received = self.n_requests = 0
        self.validator, self.size = "", -1
        self._session = addresses.session(url, connections=CONNECTIONS)
        try:
            first = self._fetch_range(0, BlockCache.SIZE)
        except BaseException:
            self._session.close()
            raise
        super().__init__(None, url, block_size=BlockCache.SIZE, cache_type="none", size=self.size)
        self.cache = BlockCache(BlockCache.SIZE, self._fetch_spans, self.size)
        self.cache.put(0, first)

    def __repr__(self) -> str:
        return self.name  # what h5py takes for the name of the file

    def will_read(self, n_bytes: int) -> None:
        """Say how many contiguous bytes the next read of values needs, so that they are fetched at once."""
        self.cache.will_read(n_bytes)

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
            except TransientError as error:
                reason = str(error)
            if failures < N_TRIES:
                wait_until = time.monotonic() + download.BACKOFF * 2 ** (failures - 1)
                while (left := wait_until - time.monotonic()) > 0:
                    self._raise_if_cancelled()
                    time.sleep(min(left, 0.1))
        raise SourceError(f"{self.name} could not be read in parts from {self.url}: {reason}.")

    def _request(self, start: int, end: int) -> bytes:
        self._raise_if_cancelled()
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{end - 1}"}
        headers |= {"If-Range": self.validator} if self.validator else {}
        with self._counting:
            self.n_requests += 1
        try:
            address = self._address
            with self._session.get(address, headers=headers, stream=True, timeout=TIMEOUTS) as response:
                redirected = address != self.url or bool(response.history)
                n_bytes = self._check_response(response, start, end, redirected=redirected)
                self._address = response.url
                return self._receive(response, n_bytes)
        except addresses.PrivateAddressError as error:
            raise SourceError(f"{self.name} cannot be read from {self.url}. {error}") from error
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise SourceError(f"{self.name} cannot be read from {self.url} ({error}).") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise TransientError("the server cannot be reached") from error
        except requests.RequestException as error:
            raise SourceError(f"{self.name} cannot be read from {self.url} ({error}).") from error

    def _check_response(self, response: requests.Response, start: int, end: int, *, redirected: bool) -> int:
        """Length of the range that a response brings; raises where it is not the range that was requested."""
        status, said = response.status_code, response.headers
        if status in (408, 425, 429) or status >= 500:
            raise TransientError(f"the server answers {status}")
        if status not in (200, 206, 416):
            if redirected:  # its target is often valid for a while only; another connection may have a new one
                self._address = self.url
                raise TransientError(f"the server answers {status}")
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
            raise NoRangesError(_no_parts(self.url, "sends other parts than those requested"))
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
                    self._progress(self.n_received)
                self._raise_if_cancelled()
        except HTTPError as error:
            raise TransientError("the connection broke") from error
        if len(body) < n_bytes:
            raise TransientError("the connection ended too early")
        return bytes(body)

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise DownloadCancelled(f"Reading {self.name} was stopped.")


def _no_parts(url: str, why: str) -> str:
    return f"{url} {why}, so that no cells can be chosen before it is downloaded: download the whole file."


class BlockCache(BaseCache):
    """Cache of an fsspec file: blocks of ``SIZE`` bytes, those not used for longest are dropped."""

    name: ClassVar[str] = "blocks"

    SIZE: ClassVar[int] = 32 * 2**10
    """Bytes of a block. Many of HDF5's headers and nodes are 0.1 to 4 kB and near others."""
    MOST: ClassVar[int] = 128 * 2**20
    """Bytes that are kept."""
    LONGEST: ClassVar[int] = 2**20
    """Most bytes that are read ahead on a guess: at most so many are wasted at the end of a column."""
    SMALL: ClassVar[int] = 4 * 2**10
    """Reads below this are headers and nodes, which ``will_read`` does not mean."""
    STREAMS: ClassVar[int] = 16
    """Ends of reads that are remembered, so that several columns can be read in turns."""

    def __init__(self, blocksize: int, fetcher: Callable[[list[Span]], list[bytes]], size: int) -> None:
        """Start empty.

        Parameters
        ----------
        blocksize
            Bytes of a block.
        fetcher
            Returns the bytes of each of some spans.
        size
            Bytes of the file.
        """
        super().__init__(blocksize, fetcher, size)
        self.nblocks = -(-size // blocksize)
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._streams: OrderedDict[int, int] = OrderedDict()
        self._expected = 0

    def put(self, first: int, content: bytes) -> None:
        """Keep what was read from block ``first`` on."""
        for i, at in enumerate(range(0, len(content), self.blocksize)):
            self._held[first + i] = content[at : at + self.blocksize]

    def will_read(self, n_bytes: int) -> None:
        """Say how many contiguous bytes the next longer read starts."""
        self._expected = n_bytes

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        start, stop = start or 0, self.size if stop is None else min(stop, self.size)
        if start >= stop:
            return b""
        first, end = start // self.blocksize, -(-stop // self.blocksize)
        missing = [block for block in range(first, end) if block not in self._held]
        if missing:
            self._load(missing, start, stop)
        for block in range(first, end):
            self._held.move_to_end(block)
        content = b"".join(self._held[block] for block in range(first, end))
        while len(self._held) * self.blocksize > self.MOST:
            self._held.popitem(last=False)
        offset = start - first * self.blocksize
        return content[offset : offset + stop - start]

    def _load(self, missing: list[int], start: int, stop: int) -> None:
        """Fetch the blocks that are missing for a read of bytes start..stop-1, and what is ahead of it."""
        ahead = self._streams.pop(missing[0], 0)
        goal = missing[0] + ahead
        if self._expected and stop - start >= self.SMALL:
            goal, self._expected = -(-(start + self._expected) // self.blocksize), 0
        end = -(-stop // self.blocksize)
        goal = min(max(end, goal), self.nblocks)
        missing += [block for block in range(end, goal) if block not in self._held]
        runs: list[list[int]] = []
        for block in missing:
            if runs and block == runs[-1][1]:
                runs[-1][1] += 1
            else:
                runs.append([block, block + 1])
        spans = [(first * self.blocksize, min(last * self.blocksize, self.size)) for first, last in runs]
        for (first, _), content in zip(runs, self.fetcher(spans), strict=True):
            self.put(first, content)
        self._streams[goal] = min(2 * max(ahead, 1), self.LONGEST // self.blocksize)
        while len(self._streams) > self.STREAMS:
            self._streams.popitem(last=False)
