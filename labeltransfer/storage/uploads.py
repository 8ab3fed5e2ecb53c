"""Uploaded files: written to the disk block by block, and kept once under the digest of their content.

They are below the app's own folder::

    uploads/.arriving/<who>-<random>   not complete yet, or not asked for yet
    uploads/<hash>/<name>              kept for as long as a run needs it, see :mod:`labeltransfer.runs.space.cleaning`;
                                       of several names for one content each is a link to the same file
    uploads/<hash>/owners.txt          who sent it, a name on each line; an empty one where sign-in is off
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from labeltransfer.errors import InputError, LabelTransferError
from labeltransfer.storage.digests import digest, file_digest, new_digest
from labeltransfer.storage.files import atomic_path, move_into_place, sync_names
from labeltransfer.storage.home import home

CHUNK = 1 << 22
OWNERS = "owners.txt"
INCOMING = ".arriving"
DIGITS = 32
"""Characters of a digest that name the folder of an upload."""


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


def arriving(root: Path, owner: str) -> list[Path]:
    """Files of a person that are not complete yet, or wait for a page to take them."""
    with suppress(OSError):
        return list((root / "uploads" / INCOMING).glob(f"{_mark(owner)}-*"))
    return []


def _mark(owner: str) -> str:
    """Tells one person's arriving files from another's; the name itself may be anything."""
    return digest(owner)[:16]


class UploadWriter:
    """Receives a file block by block. Leaves nothing behind unless it is finished.

    Parameters
    ----------
    owner
        Who sends it.
    n_most
        Bytes that all of the owner's arriving files may have together.
    too_large
        The error message once they have more.
    """

    def __init__(self, *, owner: str = "", n_most: int | None = None, too_large: str = "") -> None:
        self.owner = owner
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
        if self.n_most is not None and self.n_bytes + self._others() > self.n_most:
            raise InputError(self.too_large)
        self._digest.update(block)
        with _disk_errors():
            if self._file is None:
                folder = uploads_folder() / INCOMING
                folder.mkdir(parents=True, exist_ok=True)
                self._part = folder / f"{_mark(self.owner)}-{secrets.token_hex(16)}"
                self._file = self._part.open("xb")
            self._file.write(block)

    def _others(self) -> int:
        """Bytes of the owner's other arriving files, which may grow at the same time."""
        total = 0
        for path in arriving(uploads_folder().parent, self.owner):
            with suppress(OSError):
                total += path.stat().st_size if path != self._part else 0
        return total

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


def receive(content: BinaryIO, owner: str = "") -> ReceivedFile:
    """Write an open file to the disk; raises InputError where the disk cannot take it."""
    with UploadWriter(owner=owner) as file:
        while chunk := content.read(CHUNK):
            file.write(chunk)
        return file.finish()


def keep(received: ReceivedFile, name: str, owner: str = "") -> Path:
    """Move a file to its folder, named by the digest of its content; the same content is kept once.

    What is there already is believed only where its content is that: else the new file takes its place. Sent under
    another name, the content gets that name too, and takes no more room.

    Raises
    ------
    InputError
        The disk cannot take it.
    """
    folder = uploads_folder() / received.digest[:DIGITS]
    target = folder / safe_name(name)
    with _disk_errors():
        folder.mkdir(exist_ok=True)
        _add_owner(folder, owner)
        held = _held(folder, received)
        if held is None:
            others = [path for path in folder.iterdir() if path.name not in (OWNERS, target.name)]
            _make_room(target)
            move_into_place(received.part, target)
            sync_names(folder.parent)
            for other in others:  # what these hold is not what was sent: it was cut or changed since
                _make_room(other)
                _link(target, other)
            return target
        if held != target:
            _make_room(target)
            _link(held, target)
        received.discard()
        os.utime(
            folder
        )  # wanted again: its age starts again; the file stays as it is, for artefacts know it by its time
    return target


def _held(folder: Path, received: ReceivedFile) -> Path | None:
    """A file of a folder that has the content of one that was received, whatever its name; None where there is none."""
    for path in sorted(folder.iterdir()):
        with suppress(OSError):
            facts = path.lstat()
            is_alike = stat.S_ISREG(facts.st_mode) and facts.st_size == received.n_bytes and path.name != OWNERS
            if is_alike and file_digest(path) == received.digest:
                return path
    return None


def _make_room(path: Path) -> None:
    """Let a file take this name: a folder there cannot be replaced by one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _link(held: Path, target: Path) -> None:
    """Give a file another name, in one step; a copy where the disk has no links."""
    with atomic_path(target) as temporary:
        try:
            os.link(held, temporary)
        except OSError:
            shutil.copyfile(held, temporary)


def _add_owner(folder: Path, owner: str) -> None:
    """Note who sends, before the file is there: it is never without its owner."""
    if owner not in owners(folder):
        with (folder / OWNERS).open("a", encoding="utf-8") as file:
            file.write(owner + "\n")
            file.flush()
            os.fsync(file.fileno())


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
