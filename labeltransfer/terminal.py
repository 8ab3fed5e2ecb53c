"""What the command line shows: a run's progress (where there is no terminal, a line a stage), and paragraphs."""

import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from labeltransfer.runs.pipeline import STAGES
from labeltransfer.runs.run import Run, Status


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
                title = STAGES[shown].title
                progress.remove_task(task)
                task = progress.add_task(title, total=None, detail="")
                if not console.is_terminal:
                    console.print(f"run {run.id}: {title}")
            detail = f"epoch {status.epoch} of {status.n_epochs}" if status.n_epochs else status.message
            if run.cancel_requested():
                detail = "stopping"
            total = 1.0 if status.fraction else None
            progress.update(task, completed=status.fraction, total=total, detail=detail)

        yield listen


def print_wrapped(start: str, text: str) -> None:
    """Print a paragraph as wide as the terminal, its further lines indented below its first."""
    width = min(shutil.get_terminal_size().columns, 100)
    indent = " " * len(start)
    print(textwrap.fill(text, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False))
