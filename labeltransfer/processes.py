"""Start a part of the app as a process of its own, and forget it."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGE_PARENT = Path(__file__).parents[1]


def module_environment() -> dict[str, str]:
    """The environment with which ``python -m labeltransfer…`` finds this package, wherever the app was started."""
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def start_module(module: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """Run ``python -m module`` in a session of its own, so that it outlives the browser tab, the page and the app.

    Not through multiprocessing: its children would run the app's own script again.

    Parameters
    ----------
    module
        Module of this package, found wherever the app was started from.
    log
        File that both of its outputs are appended to.

    Raises
    ------
    OSError
        The log cannot be written, or no process started.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=module_environment(),
            start_new_session=True,
        )
