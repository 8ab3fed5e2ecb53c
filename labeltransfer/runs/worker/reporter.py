"""What a worker reports about itself, through its run directory, while it works."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import psutil

from labeltransfer.errors import RunCancelled, Terminated
from labeltransfer.runs.queue.devices import Device, gpu_use
from labeltransfer.runs.records.run import Run, Status

HEARTBEAT = 2.0
"""Seconds between two signs of life."""

CANCEL_GRACE = 15.0
"""Seconds that the work has to obey a cancel request before the process ends itself."""

TERM_GRACE = 2.5
"""Seconds that the work has to stop after SIGTERM before the process ends itself; Ray kills it after 3, Docker 10."""

EXIT_CANCELLED = 130
"""Exit status of a cancelled run, as a shell gives it after Ctrl-C."""

EXIT_TERMINATED = 143
"""Exit status after SIGTERM, as a shell gives it."""

TERMINATED = (
    "The run was ended by the signal SIGTERM, as a shutdown, a scheduler or the command kill sends it. Start it again: "
    "finished stages are kept."
)


class Reporter:
    """Writes ``status.json`` and ``events.jsonl`` of one run, and looks whether it was cancelled.

    A thread gives a sign of life every two seconds, with the resources in use. It also ends the process when the work
    has not obeyed a cancel request within the grace period, so nobody has to reach it from another machine.

    Parameters
    ----------
    run
        The run that this process carries out.
    listener
        Called with every status that is written, for a watcher in the same process.
    """

    def __init__(self, run: Run, *, listener: Callable[[Status], None] | None = None) -> None:
        self.run = run
        self.device: Device | None = None
        self._listener = listener
        self._status = run.written_status()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.terminated = False
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._process.cpu_percent()  # the first reading is always 0
        self.update()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def status(self) -> Status:
        return self._status

    def update(self, **changes: Any) -> None:
        """Change the status and write it."""
        with self._lock:
            self._status = replace(self._status, heartbeat=time.time(), **changes)
            self.run.write_status(self._status)
            if self._listener:
                self._listener(self._status)

    def note(self, **changes: Any) -> None:
        """Change the status and leave the writing to the next sign of life."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def say(self, text: str) -> None:
        """Tell in words what happens now, and stop here if the run was cancelled."""
        self.check()
        self.run.append_event("message", stage=self._status.stage, text=text)
        self.update(message=text)

    def check(self) -> None:
        """Stop here if the run was cancelled or the process was asked to end.

        Raises
        ------
        RunCancelled
            A person asked for the run to stop.
        Terminated
            There was a SIGTERM.
        """
        if self.terminated:
            raise Terminated
        if self.run.cancel_requested():
            raise RunCancelled("The run was cancelled; finished stages are kept.")

    def terminate(self, *_: object) -> None:
        """Stop the work at its next check, or the process where it does not come to one; a handler of SIGTERM.

        Not by an exception: it would arise anywhere, also where a library catches what it does not know.
        """
        if not self.terminated:
            self.terminated = True
            timer = threading.Timer(TERM_GRACE, self._end_terminated)
            timer.daemon = True
            timer.start()

    def end_words(self) -> dict[str, Any]:
        """How a run ends that SIGTERM has ended: it has failed, unless it was cancelled before."""
        if self.run.cancel_requested():
            return {"state": "cancelled", "message": ""}
        return {"state": "failed", "error": TERMINATED}

    def _end_terminated(self) -> None:
        if not self._over.is_set():
            try:
                self.update(**self.end_words(), finished=time.time())
            finally:
                print(TERMINATED, file=sys.stderr, flush=True)
                os._exit(EXIT_TERMINATED)

    def _beat(self) -> None:
        asked: float | None = None
        while not self._over.wait(HEARTBEAT):
            with suppress(OSError):  # a disk that is full now may have room at the next sign of life
                if self.run.cancel_requested():
                    asked = asked or time.monotonic()
                    if time.monotonic() - asked > CANCEL_GRACE:
                        self.update(state="cancelled", finished=time.time())
                        os._exit(EXIT_CANCELLED)
                self.update(resources=self._resources())

    def _resources(self) -> dict[str, float]:
        own = {"cpu_percent": self._process.cpu_percent(), "memory_bytes": float(self._process.memory_info().rss)}
        return own | (gpu_use(self.device) if self.device else {})
