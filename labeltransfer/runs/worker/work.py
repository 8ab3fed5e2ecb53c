"""Carry out one run: ``python -m labeltransfer.runs.worker [RUN_DIR]``.

Needs nothing but the run directory, and reports everything through it. Without one it waits, all imports done, until
the queue's dispatcher names it on stdin: so a free device does not wait for a process to start.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from labeltransfer.errors import LabelTransferError, RunCancelled, Terminated
from labeltransfer.processes import WAITING, keep_to_cores, rare_collections
from labeltransfer.runs.queue.devices import Device, device_turn
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.out_of_memory import memory_words, out_of_memory
from labeltransfer.runs.worker.pipeline import carry_out
from labeltransfer.runs.worker.reporter import EXIT_CANCELLED, EXIT_TERMINATED, TERMINATED, Reporter
from labeltransfer.storage.known_process import KnownProcess

LOCK_PATIENCE = 30.0
"""Seconds to wait for the run's own lock: a process that asks whether the worker lives holds it for an instant."""


def work(run: Run, *, listener: Callable[[Status], None] | None = None, called: bool = False) -> Status:
    """Carry out a run in this process, whatever happens leaving its directory in a final state.

    Parameters
    ----------
    run
        A queued run; of one that another process has begun with, nothing is done.
    listener
        Called with every status that is written.
    called
        Whether it is this run's turn, as the queue's dispatcher has found; else its turn is waited for.

    Returns
    -------
    Status
        How the run ended.
    """
    with rare_collections(), _taken(run) as taken:
        if not taken:
            return run.written_status()
        with suppress(OSError):  # on a full disk it cannot be ended from outside, and will fail by itself
            KnownProcess.own().write(run.folder / "worker.json")
        with Reporter(run, listener=listener) as reporter, _at_sigterm(reporter.terminate):
            run.place_in_queue.unlink(missing_ok=True)  # it has begun: from here on the lock says whether it lives
            try:
                with device_turn(run, check=reporter.check, called=called) as device:
                    _use(device)
                    reporter.device = device
                    reporter.update(state="running", started=time.time(), device=device.name)
                    Store(run.root).collect_garbage()
                    carry_out(run, reporter, device)
                    reporter.update(state="done", finished=time.time(), stage="", message="")
            # Lightning ends a training after SIGTERM by a SystemExit that says nothing.
            except (Exception, SystemExit, Terminated) as error:
                if not reporter.terminated and isinstance(error, SystemExit):
                    raise
                reporter.update(**_ending(error, reporter), finished=time.time())
            return reporter.status


def _ending(error: BaseException, reporter: Reporter) -> dict[str, str]:
    """State and words of a run that an error has ended."""
    if reporter.terminated:
        return reporter.end_words()
    if isinstance(error, RunCancelled):
        return {"state": "cancelled", "message": ""}
    if out_of_memory(error):
        traceback.print_exc()
        return {"state": "failed", "error": memory_words(reporter.device, reporter.status.stage)}
    if isinstance(error, LabelTransferError):
        return {"state": "failed", "error": str(error)}
    traceback.print_exc()
    if isinstance(error, OSError):
        why = error.strerror or error
        return {
            "state": "failed",
            "error": f"The run could not be written or read ({why}): free some space and start it again.",
        }
    text = f"Something that the app did not foresee: {type(error).__name__}: {error}. The log says more."
    return {"state": "failed", "error": text}


@contextmanager
def _taken(run: Run) -> Iterator[bool]:
    """Hold the run's lock; False where another process has begun with the run, which is never begun twice."""
    lock, end = run.worker_lock(), time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            lock.acquire(timeout=1.0)
            break
        except Timeout:
            if _has_begun(run) or time.monotonic() > end:
                yield False
                return
    try:
        yield not _has_begun(run)
    finally:
        lock.release()


def _has_begun(run: Run) -> bool:
    status = run.written_status()
    return status.over or status.state != "queued" or status.heartbeat > 0


@contextmanager
def _at_sigterm(stop: Callable[..., None]) -> Iterator[None]:
    """Call ``stop`` at SIGTERM while the block runs. Lightning's own calls it too; only a main thread has one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _use(device: Device) -> None:
    """Let this process see its own device alone. Works only because neither torch nor numpy is imported yet."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device.gpu is None else str(device.gpu)
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    if device.n_cores is not None:
        keep_to_cores(device.n_cores)


def main() -> int:
    """Entry point of the worker process: of a run by its folder, or of the next one of the queue, named on stdin."""
    called = len(sys.argv) < 2
    if called:
        folder = sys.stdin.readline().strip()
        if not folder:  # the dispatcher needs no worker, or is gone
            return 0
        run = Run(Path(folder))
        _write_to(run.folder / "log.txt")
    else:
        run = Run(Path(sys.argv[1]).resolve())
    # A cluster may start a job whose run was cancelled or deleted while it waited.
    if not (run.folder / "params.json").exists() or run.written_status().over:
        print(f"Run {run.id} is over or was deleted: nothing is done.")
        return 1
    status = work(run, called=called)
    if status.error == TERMINATED:
        print(TERMINATED, file=sys.stderr)
        return EXIT_TERMINATED
    return {"done": 0, "cancelled": EXIT_CANCELLED}.get(status.state, 1)


def _write_to(log: Path) -> None:
    """Let both outputs of this process go to a log from now on, also those of libraries and of its own children."""
    with suppress(OSError), log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
