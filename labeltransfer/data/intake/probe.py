"""Look at a file of unknown origin in a process that can be ended.

The HDF5 library can loop for ever over damaged internals, inside C code that no Python signal reaches, while it holds a
lock for the whole process: in the app's own process, one bad upload would stop the pages of all users. A few bytes of a
file can also expand to any amount of text, by pointing at the same text many times, so memory is bounded as well.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from labeltransfer.errors import InputError
from labeltransfer.processes import module_environment

PATIENCE = 60.0
"""Seconds for a first look, imports included; a sound file of 200 MB takes two."""

MEMORY = 2**30
"""Bytes that the look may take besides ten times the size of the file, but never more than half of the machine's."""


def probe(path: Path, *, patience: float = PATIENCE, memory: int = MEMORY) -> None:
    """Read a file's structure, tables and a sample of its counts elsewhere, before this process opens it.

    Raises
    ------
    InputError
        The file is refused, or the look at it does not end or takes too much memory.
    """
    command = [sys.executable, "-m", "labeltransfer", "inspect", str(path)]
    environment = module_environment() | {"OPENBLAS_NUM_THREADS": "1"}  # each thread reserves memory
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        _bound_memory(process.pid, min(memory + 10 * path.stat().st_size, psutil.virtual_memory().total // 2))
        try:
            said = process.communicate(timeout=patience)[1].strip()
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise InputError(
                f"{path.name}: reading it did not end within {patience:.0f} s, so it is damaged. Get it again from "
                "its source."
            ) from error
    if process.returncode == 2 and said:
        raise InputError(said.splitlines()[-1])
    if process.returncode:
        raise InputError(f"{path.name}: it cannot be read, so it is damaged. Get it again from its source.")


def _bound_memory(pid: int, n_bytes: int) -> None:
    """Let a process that has just started take no more memory than this, where the system can see to it (Linux)."""
    with suppress(ImportError, AttributeError, OSError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (n_bytes, n_bytes))
