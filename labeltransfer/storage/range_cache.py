"""What has been read of a remote file, in blocks, and how much is asked for at once.

Each request costs a round trip of some 10 to 100 ms, in which a connection of 10 to 50 MB/s would have brought a
megabyte. HDF5 asks for hundreds of small things that lie near one another (headers, nodes, texts), for columns from
end to end, and for stretches of a matrix. So the unit is small, a read that goes on where another ended gets twice as
much each time, and whoever knows how long a stretch will be announces it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar

from fsspec.caching import BaseCache

Span = tuple[int, int]
"""First byte, and the byte behind the last."""


class Blocks(BaseCache):
    """Cache of an fsspec file: blocks of ``SIZE`` bytes, those not used for longest are dropped."""

    name: ClassVar[str] = "blocks"

    SIZE: ClassVar[int] = 32 * 2**10
    """Bytes of a block. Many of HDF5's headers and nodes are 0.1 to 4 kB and stand near others."""
    MOST: ClassVar[int] = 128 * 2**20
    """Bytes that are kept."""
    LONGEST: ClassVar[int] = 2**20
    """Most bytes that are read ahead unannounced: at most so many come in vain at the end of a column."""
    SMALL: ClassVar[int] = 4 * 2**10
    """Reads below this are headers and nodes, which no announcement is meant for."""
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
        self._announced = 0

    def put(self, first: int, content: bytes) -> None:
        """Keep what was read from block ``first`` on."""
        for i, at in enumerate(range(0, len(content), self.blocksize)):
            self._held[first + i] = content[at : at + self.blocksize]

    def announce(self, n_bytes: int) -> None:
        """Say how many bytes in a row the next longer read begins."""
        self._announced = n_bytes

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
        """Fetch the blocks that are missing for a read of bytes start..stop-1, and what lies ahead of it."""
        ahead = self._streams.pop(missing[0], 0)
        goal = missing[0] + ahead
        if self._announced and stop - start >= self.SMALL:
            goal, self._announced = -(-(start + self._announced) // self.blocksize), 0
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
