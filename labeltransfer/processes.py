"""Separate processes of the app: start one and leave it running, the cores it may use, and end it quickly.

How a process is known to others, and ended by them, is in :mod:`labeltransfer.storage.known_process`.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

PACKAGE_PARENT = Path(__file__).parents[1]

CORES = ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that limit how many cores joblib and the numerical libraries use."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "500"}
"""How OpenMP's threads wait: GNU's spin for some microseconds and then sleep, others' sleep at once.

Threads that spin longer are several times slower than one thread where another process wants a core; threads that sleep
at once are twice as slow as spinning ones where none does.
"""


def n_cores() -> int:
    """Cores that this process may use: all, or those that a worker was given."""
    return _cores_by(CORES[0]) or os.cpu_count() or 1


def keep_to_cores(n_cores: int) -> None:
    """Let this process use at most ``n_cores``, or fewer where a variable says so; call it before importing numpy."""
    for name in CORES:
        os.environ[name] = str(min(n_cores, _cores_by(name) or n_cores))


def _cores_by(name: str) -> int:
    given = os.environ.get(name, "").strip()
    return int(given) if given.isdecimal() else 0


def module_environment() -> dict[str, str]:
    """The environment in which ``python -m labeltransfer…`` finds this package from any folder."""
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def start_module(module: str, *arguments: str, log: Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Run ``python -m module`` in a new session, so that it outlives the browser tab, the page and the app.

    Not through multiprocessing: its children would run the app's own script again.

    Parameters
    ----------
    module
        Module of this package, found from any folder.
    log
        File that both of its outputs are appended to.
    stdin
        What it reads, as for ``subprocess.Popen``.

    Raises
    ------
    OSError
        The log cannot be written, or no process started.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=module_environment(),
            start_new_session=True,
        )


def end_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent is gone, even where it is stopped; on Linux alone."""
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


PR_SET_PDEATHSIG = 1
"""Linux's number for it, see prctl(2)."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage rarely while the block runs.

    The libraries that a run imports create millions of objects that stay; scanning them again and again takes a fifth
    of the time of importing them.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def leave(code: int) -> NoReturn:
    """End this process, all of whose results are on the disk; taking torch's object graph apart would take seconds."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader of the output has gone
            stream.flush()
    os._exit(code)
