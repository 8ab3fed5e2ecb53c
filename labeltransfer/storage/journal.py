"""An append-only file of JSON lines that several processes write at once, and that never grows for ever.

A line is one write to the end of the file, so lines never mix. A file that has reached its size is moved aside:
``NAME.1.jsonl`` is the one before ``NAME.jsonl``, ``NAME.2.jsonl`` the one before that; the oldest goes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

MODE = 0o660
"""Of a new file, less what the umask takes away: nobody else's to read, and a group's where the home is one's."""

LONGEST_LINE = 4096
"""Bytes of a line. A longer one is neither written nor read."""


@dataclass(frozen=True)
class Journal:
    """One such file.

    Parameters
    ----------
    path
        The file that is written, ``NAME.jsonl``; its folder is there.
    most_bytes
        Size at which it is moved aside.
    n_old
        How many older ones are kept.
    """

    path: Path
    most_bytes: int = 1_000_000
    n_old: int = 4

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry as the last line.

        Raises
        ------
        ValueError
            It does not fit on a line.
        OSError
            The disk does not take it.
        """
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if len(line) > LONGEST_LINE:
            raise ValueError(f"an entry of {len(line):,} bytes is longer than a line of {LONGEST_LINE:,}")
        with open(self.path, "a+b", buffering=0, opener=partial(os.open, mode=MODE)) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a full disk cut the last line: it must not spoil this one
                    line = b"\n" + line
            if file.write(line) != len(line):
                raise OSError(f"{self.path} did not take a whole line")
        if size + len(line) >= self.most_bytes:
            self._move_aside()

    def lines(self) -> Iterator[dict[str, Any] | None]:
        """Entries, the newest first; None for a line that cannot be read.

        The files are opened from the newest to the oldest: one that is moved aside meanwhile comes up a second time
        and is left out, and none is missed.
        """
        seen: set[tuple[int, int]] = set()
        for path in self.files():
            with suppress(OSError), path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if (facts.st_dev, facts.st_ino) in seen:
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                # A file that could not be moved aside may have grown on: its end counts.
                file.seek(max(0, facts.st_size - 2 * self.most_bytes - LONGEST_LINE))
                for line in reversed(file.read().split(b"\n")):
                    if line.strip():
                        yield _entry(line)

    def files(self) -> list[Path]:
        """The file that is written and those before it, whether or not they are there, the newest first."""
        return [self.path, *map(self._old, range(1, self.n_old + 1))]

    def _old(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")

    def _move_aside(self) -> None:
        """Begin a new file, unless another process is doing so; where that fails, the next line tries again."""
        with suppress(OSError), FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0):
            if self.path.stat().st_size < self.most_bytes:  # another process has done so
                return
            *younger, _ = files = self.files()
            for path, older in reversed(list(zip(younger, files[1:], strict=True))):
                with suppress(FileNotFoundError):
                    os.replace(path, older)


def _entry(line: bytes) -> dict[str, Any] | None:
    if len(line) <= LONGEST_LINE:
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            return entry if isinstance(entry, dict) else None
    return None
