"""A process that others know by a file: whether it still is, what it is doing, and how it is ended from outside.

A number alone names no process: the system gives it to another one later. So its start is kept as well, and the machine
on which both count.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import psutil
from pydantic import Field, TypeAdapter

from labeltransfer.errors import DamagedError
from labeltransfer.storage.records import read_record

Activity = Literal["computes", "waits", "stopped", "gone", "unknown"]
"""``waits``: for a disk, a driver, a lock or the time; ``unknown``: it is on another machine, or hidden from this user.
"""


@dataclass(frozen=True)
class KnownProcess:
    """A process by its number, its start in clock ticks since the machine's, and the machine since its last start."""

    pid: Annotated[int, Field(gt=1)]
    start: Annotated[float, Field(allow_inf_nan=False)]
    machine: str
    host: str

    @classmethod
    def own(cls) -> Self:
        """The process that asks."""
        return cls(os.getpid(), _start(os.getpid()), _machine(), socket.gethostname())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The process that a file names; None where there is no such file or it is damaged."""
        with suppress(DamagedError):
            return read_record(path, TypeAdapter(cls))
        return None

    def write(self, path: Path) -> None:
        """Keep it in a file; raises OSError where the disk does not take it.

        It is not forced onto the disk, as all else is: what ends the machine ends the process.
        """
        part = path.with_name(f".{path.name}")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)

    @property
    def here(self) -> bool:
        """Whether its number counts on this machine, in this container."""
        return self.machine == _machine()

    def process(self) -> psutil.Process | None:
        """The running process; None where it has ended, or this cannot be known here."""
        if not self.here:
            return None
        try:
            found = psutil.Process(self.pid)
            # Read after the process was taken, whose own start psutil compares before it sends a signal.
            return found if _start(self.pid) == self.start and found.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, OSError):
            return None

    def activity(self) -> Activity:
        """What the process is doing at this moment, as the system sees it."""
        if not self.here:
            return "unknown"
        process = self.process()
        if process is None:
            return "gone"
        try:
            status = process.status()
        except psutil.Error:
            return "unknown"
        if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
            return "stopped"
        return "computes" if status == psutil.STATUS_RUNNING else "waits"

    def kill(self, *, alone: bool = False, patience: float = 5.0) -> bool:
        """Kill the process and all that it has started; returns whether it is gone; False where it is elsewhere.

        Parameters
        ----------
        alone
            Whether what it has started goes on.
        patience
            Seconds to wait for its end: one that waits for a disk may come to it later, or never.
        """
        process = self.process()
        if process is None:
            return self.here
        started = [process, *(() if alone else _started_by(process))]
        for one in started:
            with suppress(psutil.Error):  # psutil looks again whether it is the same process
                one.kill()
        end = time.monotonic() + patience
        while not (gone := self.process() is None) and time.monotonic() < end:
            time.sleep(0.02)  # not by waiting for a child, whose exit status is for another part of this program
        return gone


def kill_session(leader: int) -> None:
    """Kill what is left in a session.

    Only while its leader is there, be it as a zombie, is the number surely its own.
    """
    for one in _session(leader):
        with suppress(psutil.Error):
            one.kill()


def _started_by(process: psutil.Process) -> list[psutil.Process]:
    """What descends from a process, and who is in the session that it leads: also those whose parents are gone."""
    found: list[psutil.Process] = []
    with suppress(psutil.Error):
        found = process.children(recursive=True)
    return [*found, *(one for one in _session(process.pid) if one not in found)]


def _session(leader: int) -> Iterator[psutil.Process]:
    """Processes of a session without its leader."""
    if not hasattr(os, "getsid"):  # Windows
        return
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if pid != leader and os.getsid(pid) == leader:
                yield psutil.Process(pid)


def _start(pid: int) -> float:
    """When a process began: on Linux by the kernel's own count, which no change of the clock moves."""
    with suppress(FileNotFoundError):
        # The name, in brackets, may hold spaces and brackets itself; the start is the 20th field after it.
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return psutil.Process(pid).create_time()


@cache
def _machine() -> str:
    """The machine since its last start, and what process numbers count in: a container has numbers of its own."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()
