"""Read the app's own small files, whatever has become of them: what they should hold, or DamagedError and nothing else.

Lists of runs, the queue and the cleaning read files of everybody. One that was cut, edited by hand, or made by another
user of the server must not end them, and must not count as absent either: what it says is unknown.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from labeltransfer.errors import DamagedError

T = TypeVar("T")

MOST_BYTES = 1 << 24
"""Bytes of such a file, where nothing else is said; more is not read."""

MOST_WORDS = 160
"""Characters that are said of what is wrong in a file."""

WAY_OUT = "put a copy of it back, or delete the run on the Runs page"

Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
"""A time since the epoch, or a duration, that the calendar of every system knows."""

Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,127}\z")]
"""A word that may become part of a path: nothing in it leads elsewhere."""


def is_there(path: Path | str) -> bool:
    """Whether something has this name, be it a link that leads nowhere; True as well where that cannot be known."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def read_content(path: Path, *, n_most: int = MOST_BYTES, way_out: str = WAY_OUT) -> bytes | None:
    """Content of a file; None where there is none.

    Raises
    ------
    DamagedError
        It is no file, is larger than ``n_most`` bytes, or may not be read.
    """
    try:
        with _opened(path) as file:
            found = file.read(n_most + 1)
    except OSError as error:
        if not is_there(path):
            return None
        why = "the link leads nowhere" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise DamagedError(path, why, way_out) from error
    if len(found) > n_most:
        raise DamagedError(path, f"it has more than {n_most:,} bytes", way_out)
    return found


def _opened(path: Path) -> BinaryIO:
    """Open a file to read it; raises OSError where it is none, such as a pipe, which would keep its reader waiting."""
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no file")
    return file


def read_json_content(path: Path, *, n_most: int = MOST_BYTES, way_out: str = WAY_OUT) -> Any:
    """What a file of JSON holds, as plain data; None where there is no file, or where it holds ``null``.

    Raises
    ------
    DamagedError
        It cannot be read or is no JSON.
    """
    found = read_content(path, n_most=n_most, way_out=way_out)
    if found is None:
        return None
    try:
        return from_json(found)
    except ValueError as error:  # also of text that is no UTF-8, and of what is nested too deep
        raise DamagedError(path, faults(error), way_out) from error


def read_record(path: Path, form: TypeAdapter[T], *, n_most: int = MOST_BYTES, way_out: str = WAY_OUT) -> T | None:
    """What a file of JSON holds, checked; None where there is no file.

    Parameters
    ----------
    path
        The file.
    form
        What it has to hold.
    n_most
        Bytes that it may have.
    way_out
        What to do where it is damaged; ends a sentence.

    Raises
    ------
    DamagedError
        It cannot be read, is no JSON, or holds something else.
    """
    found = read_content(path, n_most=n_most, way_out=way_out)
    if found is None:
        return None
    try:
        return form.validate_json(found)
    except ValidationError as error:
        raise DamagedError(path, faults(error), way_out) from error


def read_tail(path: Path, *, n_most: int = 1 << 16) -> str:
    """The end of a text file that grows, at most so many bytes of it; empty where it cannot be read."""
    try:
        with _opened(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - n_most))
            return file.read(n_most).decode(errors="replace")
    except OSError:
        return ""


def printable(text: str) -> str:
    r"""A name from the disk for people to read: what no screen takes is written out, such as ``\xff`` for that byte."""
    if text.isascii() and text.isprintable():  # nearly every one, and there may be thousands
        return text
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, which no name of a file decodes to
        text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def faults(error: ValueError | TypeError) -> str:
    """The first thing that is wrong in a file, where and what, in few words."""
    if not isinstance(error, ValidationError):
        return str(error)[:MOST_WORDS]
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))[:60]
    return f"{where}: {first['msg']}"[:MOST_WORDS] if where else first["msg"][:MOST_WORDS]
