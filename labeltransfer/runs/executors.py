"""Where a worker runs: on this machine, as a process of its own."""

import os
import subprocess
import sys

from labeltransfer.errors import RunError
from labeltransfer.runs.run import Run


def start(run: Run) -> None:
    """Start the worker of a queued run and forget it.

    It has its own session, so it outlives the browser tab, the page and the app.

    Raises
    ------
    RunError
        No process could be started.
    """
    try:
        with (run.folder / "log.txt").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "labeltransfer.runs.worker", str(run.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"The worker of run {run.id} could not be started ({error.strerror}).") from error
