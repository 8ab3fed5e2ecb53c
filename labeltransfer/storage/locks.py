"""Locks between processes: files that the kernel unlocks when the process that holds them ends, however it ends."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


def is_held(lock: Path) -> bool:
    """Whether a running process holds a lock file; False where there is no such file."""
    if not os.path.exists(lock):  # asks no more than it may: another user's folder may be closed to this one
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True
