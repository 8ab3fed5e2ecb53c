"""Runs in a terminal: carried out there, with their progress (where there is no terminal, a line a stage)."""

import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from labeltransfer.errors import RunCancelled, RunError, Terminated
from labeltransfer.params import RunParams
from labeltransfer.processes import start_module
from labeltransfer.runs.queue.dispatching import WORKER
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start.admission import admit
from labeltransfer.runs.worker.reporter import TERMINATED
from labeltransfer.runs.worker.stages import stage_titles
from labeltransfer.runs.worker.work import work

POLL_SECONDS = 0.2
"""Between two looks at the status of a run in another process."""

CANCEL_GRACE = 30.0
"""Seconds that a worker has to stop after an interrupt; it looks at each batch."""


@contextmanager
def progress_bar(run: Run) -> Iterator[Callable[[Status], None]]:
    """Give a listener that shows each status of a run on stderr."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Waiting for its turn", total=None, detail="")
        shown = ""

        def listen(status: Status) -> None:
            nonlocal task, shown
            if status.stage and status.stage != shown:
                shown = status.stage
                title = stage_titles(run.params)[shown]
                progress.remove_task(task)
                task = progress.add_task(title, total=None, detail="")
                if not console.is_terminal:
                    console.print(f"run {run.id}: {title}")
            detail = f"epoch {status.epoch} of {status.n_epochs}" if status.n_epochs else status.message
            if run.cancel_requested():
                detail = "stopping"
            if status.notice:
                detail = status.notice.partition(":")[0]
            total = 1.0 if status.fraction else None
            progress.update(task, completed=status.fraction, total=total, detail=detail)

        yield listen


def carry_out(params: RunParams) -> Run:
    """Carry out a run in this process, shown on stderr; Ctrl-C cancels it.

    Raises
    ------
    RunCancelled
        It was cancelled; finished stages are kept.
    RunError
        It failed; the message says why.
    Terminated
        SIGTERM ended it; finished stages are kept.
    """
    run = admit(default_store(), params)

    def stop(*_: object) -> None:
        # Not KeyboardInterrupt: Lightning would take it for itself and end the process its own way.
        run.request_cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        with progress_bar(run) as listener:
            status = work(run, listener=listener)
    finally:
        signal.signal(signal.SIGINT, before)
    return _finished(run, status)


def carry_out_aside(run: Run, *, shown: bool = True) -> Run:
    """Carry out a queued run in a process of its own, shown on stderr if wanted; an interrupt ends that process too.

    Raises
    ------
    RunCancelled
        It was cancelled; finished stages are kept.
    RunError
        It failed; the message says why.
    KeyboardInterrupt
        There was an interrupt; the run is then cancelled.
    """
    with progress_bar(run) if shown else nullcontext(lambda status: None) as listener:
        process = start_module(WORKER, str(run.folder), log=run.folder / "log.txt")
        try:
            while process.poll() is None:
                listener(observed_status(run))
                time.sleep(POLL_SECONDS)
        except BaseException:
            run.request_cancel()
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(CANCEL_GRACE)
            finally:
                process.kill()  # does nothing to one that has ended
                process.wait()
            raise
    status = run.status()
    if not status.over:  # it ended before it had begun
        raise RunError(f"The worker of run {run.id} ended before it began: {run.log_tail(3) or 'its log is empty'}.")
    return _finished(run, status)


def _finished(run: Run, status: Status) -> Run:
    """The run, if it is done."""
    if status.state == "cancelled":
        raise RunCancelled(f"Run {run.id} was cancelled; finished stages are kept.")
    if status.error == TERMINATED:
        raise Terminated(TERMINATED)
    if status.state == "failed":
        raise RunError(status.error)
    return run


def print_wrapped(start: str, text: str) -> None:
    """Print a paragraph as wide as the terminal, its further lines indented below its first."""
    width = min(shutil.get_terminal_size().columns, 100)
    indent = " " * len(start)
    print(textwrap.fill(text, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False))
