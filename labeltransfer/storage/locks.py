"""Locks between processes: files that the kernel unlocks when the process that holds them ends, however it ends."""

import os
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

LockState = Literal["held", "free", "unknown"]
"""``unknown`` where the file may not be read, such as another user's: it then says nothing about its holder."""


def lock_state(lock: Path) -> LockState:
    """Whether a running process holds a lock file; free where there is no such file."""
    try:
        lock.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "free"
    except OSError:
        return "unknown"
    try:
        return "held" if _is_locked(lock) else "free"
    except FileNotFoundError:
        return "free"
    except OSError:
        return "unknown"


def is_held(lock: Path) -> bool:
    """Whether a running process is known to hold a lock file; False where there is no such file."""
    return lock_state(lock) == "held"


def _is_locked(lock: Path) -> bool:
    """Ask for a shared lock: a file that may be read is enough for it, and those who ask do not hold each other up."""
    try:
        import fcntl
    except ImportError:  # Windows
        try:
            with FileLock(lock).acquire(timeout=0):
                return False
        except Timeout:
            return True
    file = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
