"""Look at a file of unknown origin in a process that can be ended.

The HDF5 library can loop for ever over damaged internals, inside C code that no Python signal reaches, and it holds one
lock for the whole process meanwhile: in the app's own process, one bad upload would stop everybody's pages.
"""

import subprocess
import sys
from pathlib import Path

from labeltransfer.errors import InputError
from labeltransfer.processes import module_environment

PATIENCE = 60.0
"""Seconds for a first look, imports included; a sound file of 200 MB takes two."""


def probe(path: Path, *, patience: float = PATIENCE) -> None:
    """Read a file's structure, tables and a sample of its counts elsewhere, before this process opens it.

    Raises
    ------
    InputError
        The file is refused, or the look at it does not end.
    """
    command = [sys.executable, "-m", "labeltransfer", "inspect", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, env=module_environment())
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{path.name}: reading it did not end within {patience:.0f} s, so it is damaged. Get it again from its "
            "source."
        ) from error
    if done.returncode == 2 and done.stderr.strip():
        raise InputError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise InputError(f"{path.name}: it cannot be read, so it is damaged. Get it again from its source.")
