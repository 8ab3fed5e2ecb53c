"""Carry out one run: ``python -m labeltransfer.runs.worker RUN_DIR``.

Needs nothing but the run directory, and reports everything through it.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from labeltransfer.errors import LabelTransferError, RunCancelled
from labeltransfer.processes import WAITING, keep_to_cores, rare_collections
from labeltransfer.runs.queue.devices import Device, device_turn
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.pipeline import carry_out
from labeltransfer.runs.worker.reporter import EXIT_CANCELLED, Reporter

LOCK_PATIENCE = 30.0
"""Seconds to wait for the run's own lock: a process that asks whether the worker lives holds it for an instant."""


def work(run: Run, *, listener: Callable[[Status], None] | None = None) -> Status:
    """Carry out a run in this process, whatever happens leaving its directory in a final state.

    Parameters
    ----------
    run
        A queued run.
    listener
        Called with every status that is written.

    Returns
    -------
    Status
        How the run ended.
    """
    with (
        rare_collections(),
        run.worker_lock().acquire(timeout=LOCK_PATIENCE),
        Reporter(run, listener=listener) as reporter,
    ):
        try:
            Store(run.root).collect_garbage()
            with device_turn(run, check=reporter.check) as device:
                _use(device)
                reporter.device = device
                reporter.update(state="running", started=time.time(), device=device.name)
                carry_out(run, reporter, device)
                reporter.update(state="done", finished=time.time(), stage="", message="")
        except RunCancelled:
            reporter.update(state="cancelled", finished=time.time(), message="")
        except LabelTransferError as error:
            reporter.update(state="failed", finished=time.time(), error=str(error))
        except OSError as error:
            traceback.print_exc()
            text = (
                f"The run could not be written or read ({error.strerror or error}): free some space and start it again."
            )
            reporter.update(state="failed", finished=time.time(), error=text)
        except Exception as error:  # noqa: BLE001  no one else can report it
            traceback.print_exc()
            text = f"Something that the app did not foresee: {type(error).__name__}: {error}. The log says more."
            reporter.update(state="failed", finished=time.time(), error=text)
        return reporter.status


def _use(device: Device) -> None:
    """Let this process see its own device alone. Works only because neither torch nor numpy is imported yet."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device.gpu is None else str(device.gpu)
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    if device.n_cores is not None:
        keep_to_cores(device.n_cores)


def main() -> int:
    """Entry point of the worker process."""
    run = Run(Path(sys.argv[1]).resolve())
    # A cluster may start a job whose run was cancelled or deleted while it waited.
    if not (run.folder / "params.json").exists() or run.written_status().over:
        print(f"Run {run.id} is over or was deleted: nothing is done.")
        return 1
    status = work(run)
    return {"done": 0, "cancelled": EXIT_CANCELLED}.get(status.state, 1)
