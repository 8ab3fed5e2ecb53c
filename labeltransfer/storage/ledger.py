"""A small JSON file that several people may change at once: read again under a lock, and replaced atomically."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.storage import files

T = TypeVar("T")

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
        Makes the value out of what the file holds; raises ValueError, TypeError, KeyError or AttributeError where that
        is something else. It is also given ``empty``.
    as_json
        The reverse.
    empty
        What a file that is not there stands for, as JSON.
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
        RunError
            The file is damaged.
        """
        try:
            return self.from_json(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return self.from_json(self.empty)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, LabelTransferError) as error:
            raise RunError(
                f"{self.path} cannot be read ({error}): put a copy of it back, or delete it to {self.without}."
            ) from error

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
