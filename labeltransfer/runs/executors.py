"""Where a worker runs: on this machine, as a process of its own."""

from labeltransfer.errors import RunError
from labeltransfer.processes import start_module
from labeltransfer.runs.run import Run


def start(run: Run) -> None:
    """Start the worker of a queued run and forget it: the run directory tells everything about it.

    Raises
    ------
    RunError
        No process could be started.
    """
    try:
        start_module("labeltransfer.runs.worker", str(run.folder), log=run.folder / "log.txt")
    except OSError as error:
        raise RunError(f"The worker of run {run.id} could not be started ({error.strerror}).") from error
