"""A small JSON file that several people may change at once: read again under a lock, and replaced atomically."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock

from labeltransfer.errors import DamagedError, LabelTransferError, RunError
from labeltransfer.storage import files
from labeltransfer.storage.records import is_there, read_json_content

T = TypeVar("T")

MOST_BYTES = 1 << 29
"""Bytes of such a file: an edit lists its cells, of which there may be millions."""

PATIENCE = 10.0
"""Seconds to wait for another person's change to be written."""


@dataclass(frozen=True)
class Ledger(Generic[T]):
    """One such file.

    Parameters
    ----------
    path
        Where it is; there is no file before the first change.
    from_json
        Makes the value out of what the file holds; raises ValueError, TypeError, LookupError or AttributeError where
        that is something else. It is also given ``empty``.
    as_json
        The reverse.
    empty
        What a file that is not there counts as, in JSON.
    without
        What follows from deleting a damaged file, to end the sentence "delete it to ...".
    """

    path: Path
    from_json: Callable[[Any], T]
    as_json: Callable[[T], Any]
    empty: Any
    without: str

    def read(self) -> T:
        """The value as of now.

        Raises
        ------
        DamagedError
            The file is damaged.
        """
        way_out = f"put a copy of it back, or delete it to {self.without}"
        if not is_there(self.path):
            return self.from_json(self.empty)
        found = read_json_content(self.path, n_most=MOST_BYTES, way_out=way_out)
        try:
            return self.from_json(found)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, LabelTransferError) as error:
            raise DamagedError(self.path, str(error), way_out) from error

    @contextmanager
    def changing(self) -> Iterator[T]:
        """Give the value, and keep others from changing it until the block ends; the block calls :meth:`write`.

        Raises
        ------
        RunError
            The file is damaged or cannot be written.
        """
        try:
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=PATIENCE):
                yield self.read()
        except OSError as error:  # also where the lock was not free in time
            raise RunError(f"{self.path} cannot be written ({error}): free some space and try again.") from error

    def write(self, value: T) -> None:
        """Replace the value, inside of :meth:`changing`."""
        files.write_atomic(self.path, json.dumps(self.as_json(value), ensure_ascii=False) + "\n")
