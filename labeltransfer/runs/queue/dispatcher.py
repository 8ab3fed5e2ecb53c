"""Give waiting runs a worker when it is their turn: ``python -m labeltransfer.runs.queue.dispatcher HOME [MODULE]``.

One process for each home, which a lock makes single. It is started by who queues a run or looks at the queue when there
is none, and ends when nothing waits and nothing that it has started is at work. All that must not be lost is on the
disk, so it can be killed at any moment:

- A waiting run is a file in ``queue/``, removed by its worker once that holds the run's lock and has given a sign of
  life. Before, the run waits on and gets another worker; after, the lock says whether its worker lives. A second worker
  for the same run finds the lock held, or the sign of life, and steps back: no run is lost, none is begun twice.
- A device is held by the worker's lock, no matter who started the worker. Two workers never share one.

A spare worker waits with its imports done, for whichever run is next: a free device does not wait for a process to
start, and the choice is made when the device is free. A run in a terminal waits in its own process; the dispatcher
leaves it its turn.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from labeltransfer.errors import LabelTransferError
from labeltransfer.processes import start_module
from labeltransfer.runs.queue.devices import Device, devices, free_devices
from labeltransfer.runs.queue.dispatching import WORKER, dispatcher_files
from labeltransfer.runs.queue.line import Line
from labeltransfer.runs.queue.liveness import KILL_GRACE, end_deaf, settle
from labeltransfer.runs.queue.order import turns
from labeltransfer.runs.records.run import GONE, Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.known_process import KnownProcess, kill_session

TICK = 0.1
"""Seconds between two looks at the queue; the end of a worker is noticed at once."""

SLOW = 1.0
"""Seconds between two signs of life, and between two looks at runs that were cancelled."""

TRIES = 3
"""Workers that may end before they have begun with a run; then the run has failed."""

BEGINNING = 30.0
"""Seconds that a worker has to begin with its run; then it is killed, and the run gets another one."""

PAUSE = 5.0
"""Seconds without a new worker after one could not be started, or ended before it had a run."""

PATIENCE = 5.0
"""Seconds to wait for the lock: who looks whether a dispatcher is there holds it for an instant."""

Choice = tuple[Device, ...]


@dataclass
class Called:
    """A worker that was given a run."""

    process: subprocess.Popen[bytes]
    run: Run
    choice: Choice
    since: float  # of the monotonic clock
    oom_kills: int  # of the whole machine, when it was called

    def on_its_way(self) -> bool:
        """Whether it has not taken its device yet, and is about to."""
        return time.monotonic() - self.since < GONE and self.run.written_status().state == "queued"

    def hangs(self) -> bool:
        """Whether it has not even begun with its run for so long that it never will."""
        late = time.monotonic() - self.since > BEGINNING
        return late and self.run.in_queue and not self.run.written_status().heartbeat


class Dispatcher:
    """Serves the queue of one home; see the module.

    Parameters
    ----------
    store
        The home.
    worker
        Module of the workers.
    """

    def __init__(self, store: Store, worker: str = WORKER) -> None:
        self.store, self.worker = store, worker
        self.lock_path, self.life_path = dispatcher_files(store)
        self.line = Line(store)
        self.called: dict[int, Called] = {}
        self.spare: subprocess.Popen[bytes] | None = None
        self._tries: Counter[str] = Counter()
        self._ended: list[int] = []  # process numbers, appended by the threads that wait for them
        self._woken = threading.Event()
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._choices: dict[str, Choice] = {}
        self._wanted: dict[str, Choice] = {}
        self._slow = self._paused_until = 0.0

    def serve(self) -> None:
        """Serve until there is nothing to do; returns at once where another dispatcher does."""
        lock = FileLock(self.lock_path)
        while True:
            try:
                lock.acquire(timeout=PATIENCE)
            except Timeout:
                return
            try:
                KnownProcess.own().write(self.life_path)
                self._slow = 0.0
                while self._round_whatever_happens():
                    self._woken.wait(TICK)
                    self._woken.clear()
            finally:
                self._dismiss_spare()
                lock.release()
            # Who queued a run before the lock was free saw it held and started no other dispatcher.
            if not any(self._queue()):
                return

    def _round_whatever_happens(self) -> bool:
        """One round; a disk that is full or cannot be written now may be well again at the next."""
        try:
            return self.round()
        except (LabelTransferError, OSError) as error:
            if not self.store.root.exists():
                raise
            print(f"The queue has to wait: {error}", flush=True)
            time.sleep(SLOW)
            return True

    def round(self) -> bool:
        """Look once at everything; returns whether anything may be left to do."""
        self._bury()
        queue = self._queue()
        slow, deaf = time.monotonic() - self._slow > SLOW, False
        if slow:
            self._slow = time.monotonic()
            os.utime(self.life_path)
            self.line.look()
            deaf = self._end_deaf()
            self._clear()
        if queue:
            self._call_next(queue)
        else:
            self._dismiss_spare()
        return bool(queue or self.called or deaf or not slow)

    def _queue(self) -> list[str]:
        with suppress(FileNotFoundError):
            return os.listdir(self.store.root / "queue")
        return []

    def _call_next(self, queue: list[str]) -> None:
        """Give each device that is free to the next run that may use it."""
        if time.monotonic() < self._paused_until:
            return
        free = {choice: free_devices(self.store, choice) for choice in {self._choice(run_id) for run_id in queue}}
        if () in free:  # settings that are damaged or cannot be: a worker will say so
            free[()] = 1
        given, on_its_way = set(), False
        for called in self.called.values():
            given.add(called.run.id)
            if called.on_its_way():
                free[called.choice] = free.get(called.choice, 0) - 1
                on_its_way = True
        # The order is asked for only when a device is free, so that waiting costs next to nothing.
        order = turns(self.line.look()) if any(n > 0 for n in free.values()) else iter(())
        for entry in order:
            choice = self._choice(entry.id)
            # A run that is not in the queue waits in a process of its own, and takes its turn by itself.
            if free.get(choice, 0) > 0 and entry.id not in given:
                own_process = entry.id not in self.line.in_queue
                if own_process or self._call(self.line.run(entry.id), choice):
                    free[choice] -= 1
                if not any(n > 0 for n in free.values()):
                    return
        if self.spare is None and not on_its_way:  # not while another one needs the processor to begin
            self.spare = self._start_worker()

    def _choice(self, run_id: str) -> Choice:
        """Devices that a run may use, which stay the same; none where they are unknown."""
        if run_id not in self._wanted:
            run = self.line.run(run_id)
            choice: Choice = ()
            with suppress(LabelTransferError, OSError):
                wanted = run.params.device
                if wanted not in self._choices:
                    self._choices[wanted] = devices(wanted)
                choice = self._choices[wanted]
            self._wanted[run_id] = choice
        return self._wanted[run_id]

    def _call(self, run: Run, choice: Choice) -> bool:
        """Give a run a worker; False where it needs none any more, or gets none now."""
        self.line.read_again(run.id)
        status = run.status()
        if status.over:
            settle(run)
            return False
        if self._tries[run.id] >= TRIES:
            why = self._last_words() or "it said nothing"
            run.write_status(
                replace(
                    status,
                    state="failed",
                    finished=time.time(),
                    error=f"{TRIES} workers ended before they had begun with the run; the last said: {why}",
                )
            )
            run.place_in_queue.unlink(missing_ok=True)
            return False
        worker, self.spare = self.spare or self._start_worker(), None
        if worker is None or worker.stdin is None:
            return False
        self._tries[run.id] += 1
        self.called[worker.pid] = Called(worker, run, choice, time.monotonic(), _oom_kills())
        with suppress(OSError):  # it has ended already: the run gets another one
            worker.stdin.write(f"{run.folder}\n".encode())
            worker.stdin.close()
        return True

    def _clear(self) -> None:
        """Take runs out of the queue that are over or gone, and end workers that do not begin."""
        given = {called.run.id for called in self.called.values()}
        for run_id in self.line.in_queue - self.line.waiting - given:
            run = self.line.run(run_id)
            with suppress(LabelTransferError, OSError):
                if not (run.folder / "params.json").exists():
                    run.place_in_queue.unlink(missing_ok=True)
                elif run.status().over:
                    settle(run)
        for called in self.called.values():
            if called.hangs():
                called.process.kill()

    def _start_worker(self) -> subprocess.Popen[bytes] | None:
        """A worker that waits for a run; None where the system does not start one now."""
        try:
            process = start_module(self.worker, log=self.lock_path.with_suffix(".log"), stdin=subprocess.PIPE)
        except OSError as error:
            print(f"No worker could be started: {error}", flush=True)
            self._paused_until = time.monotonic() + PAUSE
            return None
        self._children[process.pid] = process
        threading.Thread(target=self._wait_for, args=(process,), daemon=True).start()
        return process

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        """Wake the dispatcher when a worker ends, without taking its number from it where the system allows that."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        self._ended.append(process.pid)
        self._woken.set()

    def _bury(self) -> None:
        """See to the workers that have ended: what they started ends with them, and why they did is written down."""
        while self._ended:
            pid = self._ended.pop()
            kill_session(pid)
            process = self._children.pop(pid)
            exit_status = process.wait()
            if process is self.spare:
                self.spare, self._paused_until = None, time.monotonic() + PAUSE
            called = self.called.pop(pid, None)
            if called and exit_status == -signal.SIGKILL and _oom_kills() > called.oom_kills:
                self._write_out_of_memory(called.run)

    def _write_out_of_memory(self, run: Run) -> None:
        """The kernel has killed for memory while a worker was killed without a word."""
        status = run.status()
        if status.state == "failed" and not run.written_status().over:
            where = f" in stage {status.stage}" if status.stage else ""
            error = (
                f"This machine's memory ran out{where}, and the system ended the worker: start the run again with "
                "fewer cells (a filter, or a smaller max_query_cells), while no other run is at work, or on a machine "
                "or device with more memory; finished stages are kept."
            )
            with suppress(OSError):
                run.write_status(replace(run.written_status(), state="failed", finished=time.time(), error=error))

    def _end_deaf(self) -> bool:
        """End cancelled runs whose workers do not; returns whether some are still to be ended."""
        left = False
        for called in self.called.values():  # those that no file names, by what is known here
            age = called.run.cancel_age()
            if age is not None and age > 2 * KILL_GRACE and called.run.worker_process() is None:
                called.process.kill()
        for run_id in self.line.unended:
            run = self.line.run(run_id)
            if run.cancel_requested():
                with suppress(OSError):
                    left = not end_deaf(run) or left
        return left

    def _dismiss_spare(self) -> None:
        """Let the spare worker go: it ends when its line is closed."""
        if self.spare is not None and self.spare.stdin is not None:
            with suppress(OSError):
                self.spare.stdin.close()
        self.spare = None

    def _last_words(self) -> str:
        with suppress(OSError, IndexError):
            log = self.lock_path.with_suffix(".log").read_text(errors="replace")
            return log.strip().splitlines()[-1][:300]
        return ""


def _oom_kills() -> int:
    """How many processes the kernel has ended for lack of memory since the machine's start; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def main() -> int:
    """Entry point of the process."""
    root = Path(sys.argv[1]).resolve()
    with suppress(FileNotFoundError):  # the home was removed
        Dispatcher(Store(root), *sys.argv[2:3]).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
