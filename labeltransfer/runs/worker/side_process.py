"""A second process of a run: it makes what later stages need not wait for, while those are made in the first.

The first process alone gives artefacts their place and writes the status; the second fills folders that it is given. It
ends as soon as the first is gone, whatever that died of: the kernel sees to it on Linux, a thread elsewhere.
"""

import os
import signal
import threading
import traceback
from collections.abc import Sequence
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.processes import end_with_parent, keep_to_cores, rare_collections
from labeltransfer.runs.queue.devices import Device
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.out_of_memory import memory_words, out_of_memory
from labeltransfer.runs.worker.provenance import make_recorded
from labeltransfer.runs.worker.reporter import Reporter


class SecondProcess:
    """Imports its libraries as soon as it is started, which takes seconds, and then makes one stage at a time.

    Parameters
    ----------
    job
        The run's; its reporter stays here.
    """

    def __init__(self, job: Job) -> None:
        # A worker's main module, unlike the app's script, may be imported again, as a new process does.
        context = get_context("spawn")
        self._line, its_end = context.Pipe()
        arguments = (its_end, job.run.folder, job.device)
        self._process = context.Process(target=_serve, args=arguments, name="second", daemon=True)
        self._process.start()
        its_end.close()  # so that this end hears of its death

    def make(self, stage: str, folder: Path, damaged: Sequence[str]) -> None:
        """Have a stage made, see :func:`.provenance.make_recorded`, and wait until it is.

        Raises
        ------
        RunError
            The process died.
        Exception
            Whatever the making of the stage raised there.
        """
        try:
            self._line.send((stage, folder, damaged))
            error = self._line.recv()
        except (EOFError, OSError) as end:
            raise RunError(
                f"The second process of the run ended without a word in stage {stage}: it was stopped from outside or "
                "ran out of memory. Start the run again: finished stages are kept. Where memory ran out, take fewer "
                "cells (max_query_cells)."
            ) from end
        if error:
            raise error

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()


class SilentReporter(Reporter):
    """Appends events and checks for a cancel request; the first process alone writes the status."""

    def update(self, **changes: Any) -> None:
        self.note(**changes)


def _serve(line: Connection, run_folder: Path, device: Device) -> None:
    """Make the stages that are asked for, until this process is ended."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they often reach both: the first one knows what to do
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_to_cores(1)  # the others train
    run = Run(run_folder)
    reporter = SilentReporter(run)
    with rare_collections():
        import labeltransfer.data.prepare.prepared
        import labeltransfer.results.maps.layout  # noqa: F401  with torch and pymde: ready before it is asked

        while True:
            stage, folder, damaged = line.recv()
            reporter.note(stage=stage)
            try:
                make_recorded(Job(run, run.params, reporter, device), stage, folder, damaged)
            except (LabelTransferError, OSError) as error:
                line.send(RunError(memory_words(device, stage)) if out_of_memory(error) else error)
            except Exception as error:  # noqa: BLE001  raised again in the first process
                if out_of_memory(error):
                    traceback.print_exc()
                    line.send(RunError(memory_words(device, stage)))
                    continue
                # Not every error can be sent; its own words and where it arose can.
                line.send(RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
            else:
                line.send(None)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
    os._exit(1)
