"""Do something in a forked child with bounded time and memory, and see which files outside it opens."""

import ctypes
import json
import os
import resource
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

_OPENED, _READ, _FOLDER = 0x20, 0x1, 0x4000_0000
_EVENT = struct.Struct("iIII")
"""What inotify reports of an event: watch, kind, cookie and length of the name that follows."""


Report = Callable[[str], None]
"""Takes a line that a child reports."""
Work = Callable[[Report], None]


@dataclass(frozen=True)
class Ended:
    """How one work ended: what it reported, what stopped it ("" where nothing did), and what it took."""

    lines: list[str]
    stopped: str
    seconds: float
    peak_bytes: int


def in_children(works: Sequence[Work], *, seconds: float, memory: int) -> list[Ended]:
    """Do some works in copies of this process: one after the other in the same copy, for as long as it lives.

    The library can loop for ever in C code that no Python signal handler reaches, so the kernel ends the copy.

    Parameters
    ----------
    works
        Each is called with what takes its lines. An error is reported as ``traceback …``.
    seconds
        Time that each may take.
    memory
        Bytes of data that a copy may have, what it inherits included.
    """
    ended: list[Ended] = []
    while len(ended) < len(works):
        ended += _in_one_child(works[len(ended) :], seconds, memory)
    return ended


def _in_one_child(works: Sequence[Work], seconds: float, memory: int) -> list[Ended]:
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receive)
        _work_and_exit(works, send, seconds, memory)
    os.close(send)
    with os.fdopen(receive) as file:
        sent = [json.loads(line) for line in file]
    _, status, usage = os.wait4(pid, 0)
    stopped = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""
    ended: list[Ended] = []
    for number in range(1 + max(line["work"] for line in sent)):
        own = [line for line in sent if line["work"] == number]
        lines = [line["text"] for line in own if "text" in line]
        took = [line["seconds"] for line in own if "seconds" in line]
        ended.append(Ended(lines, "" if took else stopped, took[0] if took else seconds, usage.ru_maxrss * 1024))
    return ended


def _work_and_exit(works: Sequence[Work], send: int, seconds: float, memory: int) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        for number, work in enumerate(works):
            _report(send, work=number)
            begin = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                work(partial(_say, send, number))
            except BaseException:  # noqa: BLE001  this is what is looked for
                _report(send, work=number, text="traceback " + traceback.format_exc())
            _report(send, work=number, seconds=time.monotonic() - begin)
    finally:
        os._exit(0)


def _say(send: int, number: int, line: str) -> None:
    _report(send, work=number, text=line)


def _report(send: int, **line: object) -> None:
    os.write(send, json.dumps(line).encode() + b"\n")


class Watch:
    """Reports, by inotify (Linux), whether any process opened or read a file of a folder."""

    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK)
        if (
            self._descriptor < 0
            or library.inotify_add_watch(self._descriptor, os.fsencode(folder), _OPENED | _READ) < 0
        ):
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")

    def touched(self) -> bool:
        """Whether a file was opened or read since the last call; looking into the folder alone is no such thing."""
        touched = False
        with suppress(BlockingIOError):  # nothing more is reported
            while True:
                read = os.read(self._descriptor, 65536)
                while read:
                    _, mask, _, n_name = _EVENT.unpack_from(read)
                    touched |= not mask & _FOLDER
                    read = read[_EVENT.size + n_name :]
        return touched
