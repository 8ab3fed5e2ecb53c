"""Uploaded files: written to the disk block by block, and kept once under the digest of their content.

They are below the app's own folder::

    uploads/.arriving/<random>         not complete yet, or not asked for yet
    uploads/<hash>/<name>              kept for as long as a run needs it, see :mod:`labeltransfer.runs.space.cleaning`
    uploads/<hash>/owners.txt          who sent it, a name on each line; an empty one where sign-in is off
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from labeltransfer.errors import InputError, LabelTransferError
from labeltransfer.storage.digests import new_digest
from labeltransfer.storage.files import move_into_place
from labeltransfer.storage.home import home

CHUNK = 1 << 22
OWNERS = "owners.txt"
INCOMING = ".arriving"


def uploads_folder() -> Path:
    """Folder of the uploads, which need not exist yet; raises RunError where the app's own cannot be used."""
    return home() / "uploads"


@dataclass(frozen=True)
class ReceivedFile:
    """A file that was received whole; ``digest`` is the SHA-256 of its content."""

    part: Path
    digest: str
    n_bytes: int

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)


class UploadWriter:
    """Receives a file block by block. Leaves nothing behind unless it is finished.

    Parameters
    ----------
    n_most
        Bytes that it may have.
    too_large
        The error message for a larger one.
    """

    def __init__(self, *, n_most: int | None = None, too_large: str = "") -> None:
        self.n_bytes, self.n_most, self.too_large = 0, n_most, too_large
        self._digest = new_digest()
        self._error: LabelTransferError | None = None
        self._part: Path | None = None
        self._file: BinaryIO | None = None
        self._complete = False

    def write(self, block: bytes) -> None:
        """Append a block. After an error the rest is ignored, and ``finish`` raises the error."""
        if self._error is None:
            try:
                self._append(block)
            except LabelTransferError as error:
                self._error = error

    def _append(self, block: bytes) -> None:
        self.n_bytes += len(block)
        if self.n_most is not None and self.n_bytes > self.n_most:
            raise InputError(self.too_large)
        self._digest.update(block)
        with _disk_errors():
            if self._file is None:
                folder = uploads_folder() / INCOMING
                folder.mkdir(parents=True, exist_ok=True)
                self._part = folder / secrets.token_hex(16)
                self._file = self._part.open("xb")
            self._file.write(block)

    def finish(self) -> ReceivedFile:
        """The complete file.

        Raises
        ------
        InputError
            It is too large, or the disk cannot take it.
        RunError
            The app's own folder cannot be used.
        """
        self.write(b"")
        if self._error is None and self._file and self._part:
            with _disk_errors():
                self._file.close()
            self._complete = True
            return ReceivedFile(self._part, self._digest.hexdigest(), self.n_bytes)
        raise self._error or InputError("The file did not arrive: send it again.")

    def __enter__(self) -> "UploadWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what cannot be flushed is not needed either
            if self._file:
                self._file.close()
        if self._part and not self._complete:
            self._part.unlink(missing_ok=True)


def receive(content: BinaryIO) -> ReceivedFile:
    """Write an open file to the disk; raises InputError where the disk cannot take it."""
    with UploadWriter() as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)
        return file.finish()


def keep(received: ReceivedFile, name: str, owner: str = "") -> Path:
    """Move a file to its folder, named by the digest of its content; the same content is kept once.

    Raises
    ------
    InputError
        The disk cannot take it.
    """
    target = uploads_folder() / received.digest[:32] / safe_name(name)
    with _disk_errors():
        target.parent.mkdir(exist_ok=True)
        if target.exists():  # stays as it is: artefacts are known by their inputs' time of change too
            received.discard()
            os.utime(target.parent)  # wanted again: its age starts again
        else:
            move_into_place(received.part, target)
        if owner not in owners(target.parent):
            with (target.parent / OWNERS).open("a", encoding="utf-8") as file:
                file.write(owner + "\n")
    return target


def kept_folders(root: Path) -> list[Path]:
    """Folders of the kept uploads below the app's own folder ``root``, one for each content."""
    with suppress(OSError), os.scandir(root / "uploads") as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir() and entry.name != INCOMING]
    return []


def owners(folder: Path) -> set[str]:
    """Names of those who sent what is kept in a folder of ``uploads``; empty where sign-in was off."""
    try:
        return set((folder / OWNERS).read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return set()


def safe_name(name: str) -> str:
    """File name of an upload without anything that a path or a shell could read into it."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".")
    return "upload" if stem[-80:] in ("", OWNERS) else stem[-80:]


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn a disk's error into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise InputError(f"The file cannot be kept on this server ({error.strerror}): free some space.") from error
