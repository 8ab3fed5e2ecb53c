"""Whether the worker of a run still gives signs of life, and ending one that does not stop when it is asked to.

A worker writes a sign of life every two seconds, from a thread of its own. A call into a library that keeps Python's
lock for long delays it, so a worker that the system sees computing is not called silent. One that is stopped, or waits
for a driver or a disk that never answers, keeps its lock and its device, until it is cancelled: then it is killed from
outside, with all that it has started.
"""

import time
from contextlib import suppress
from dataclasses import replace

from labeltransfer.runs.queue.dispatching import ensure_dispatcher
from labeltransfer.runs.records.run import LIFE, Run, Status
from labeltransfer.runs.records.store import Store

KILL_GRACE = 20.0
"""Seconds that a worker has to obey a cancel request before it is killed; it ends itself after 15 where it can."""

AGAIN = "Start the run again: finished stages are kept."


def with_silence(run: Run, status: Status) -> Status:
    """The status of a run on this machine, with a notice where its worker gives no sign of life."""
    seconds = silence(run, status)
    if seconds is None:
        return status
    if run.cancel_requested():
        return replace(
            status, notice=f"Cancelling: no sign of life for {seconds:.0f} s, so the worker is ended from outside."
        )
    where = "" if _worker_here(run) else " Its worker is on another machine, or cannot be seen from here."
    return replace(
        status,
        notice=f"No sign of life for {seconds:.0f} s: the worker may hang, on a driver or a disk that does not answer. "
        f"It keeps its device until it goes on or is cancelled.{where}",
    )


def silence(run: Run, status: Status) -> float | None:
    """Seconds since the last sign of life of a worker that is silent; None where it lives, or there is none."""
    if status.over or not status.heartbeat:
        return None
    seconds = abs(time.time() - status.heartbeat)  # of a clock that was put back only the distance counts
    if seconds < LIFE:
        return None
    known = run.worker_process()
    return None if known is not None and known.activity() == "computes" else seconds


def is_silent(run: Run, status: Status) -> bool:
    """Whether a run on this machine has a worker that gives no sign of life."""
    return not run.on_cluster and silence(run, status) is not None


def cancel(run: Run, *, by: str = "") -> None:
    """Ask a run to stop. One that waits in the queue is over at once; a worker looks at each batch.

    The dispatcher ends the worker from outside where it does not stop, see :func:`end_deaf`. ``by`` is who asks.

    Raises
    ------
    OSError
        The disk does not take the request.
    """
    run.request_cancel(by)
    if run.in_queue:
        settle(run)
    elif not run.on_cluster and run.has_worker():
        with suppress(OSError):  # a worker that lives ends by itself
            ensure_dispatcher(Store(run.root))


def settle(run: Run) -> None:
    """Write down the end of a run that was cancelled before any worker began with it, and take it out of the queue."""
    lock = run.worker_lock()
    with suppress(TimeoutError), lock.acquire(timeout=0):  # a worker that holds it sees the request itself
        status = run.written_status()
        if status.state == "queued" and not status.heartbeat:
            run.write_status(replace(status, state="cancelled", finished=time.time()))
        run.place_in_queue.unlink(missing_ok=True)


def end_deaf(run: Run) -> bool:
    """Kill the worker of a run that was cancelled and did not stop in time; returns whether the run is over.

    Where the system cannot end it, as long as a disk or a driver does not answer, the run ends all the same; its device
    stays taken until the process is gone.
    """
    asked = run.cancel_age()
    if asked is None or asked < KILL_GRACE or run.status().over:
        return run.status().over
    known = run.worker_process()
    if known is None or not known.here:
        return False
    gone = known.kill()
    status = run.written_status()
    if not status.over:
        about = "" if gone else f"Its process {known.pid} does not end: a disk or a driver holds it. {AGAIN}"
        run.write_status(replace(status, state="cancelled", finished=time.time(), error=about))
    return True


def _worker_here(run: Run) -> bool:
    known = run.worker_process()
    return known is not None and known.here
