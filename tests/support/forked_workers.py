"""Workers that begin with all imports done, for tests of many: a real one takes some ten seconds for them.

``python -m tests.support.forked_workers FOLDER`` imports what the makers of all stages import, and then forks a worker
for each line on stdin, which names a run's folder. From there on it is the real worker, in a process and a session of
its own. The number of each is said on stdout, and how it ended is written to a file of that number in ``FOLDER``.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labeltransfer.processes import leave, module_environment
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.worker import makers, work
from tests.support import ROOT
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class ForkedWorker:
    """A worker that was started, used as a ``subprocess.Popen``."""

    pid: int
    end: Path

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 120) -> int:
        """Wait for its end; returns its exit status, negative where a signal has ended it."""
        wait_for(self.end.exists, seconds=timeout)
        return int(self.end.read_text())


@dataclass(frozen=True)
class ForkedWorkers:
    """The process that starts them."""

    process: "subprocess.Popen[str]"
    folder: Path

    def start(self, run: Run) -> ForkedWorker:
        """Start a worker on a run."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{run.folder}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        return ForkedWorker(pid, self.folder / str(pid))


@contextmanager
def forked_workers(folder: Path) -> Iterator[ForkedWorkers]:
    """A process that starts workers for as long as the block lasts; ``folder`` takes how they end."""
    command = [sys.executable, "-m", "tests.support.forked_workers", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, env=module_environment(), **pipes) as process:
        yield ForkedWorkers(process, folder)


def _serve(folder: Path) -> None:
    for module in pkgutil.iter_modules(makers.__path__, f"{makers.__name__}."):
        importlib.import_module(module.name)
    for line in sys.stdin:
        if os.fork() == 0:  # waits for the worker, so that how it ends is known
            _guard(Path(line.strip()), folder)


def _guard(run: Path, folder: Path) -> None:
    """Start a worker, say its number and write down how it ended; ends this process."""
    pid = os.fork()
    if pid == 0:
        _work(run)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    part = folder / f".{pid}"
    part.write_text(str(os.waitstatus_to_exitcode(status)))
    part.replace(folder / str(pid))
    leave(0)


def _work(run: Path) -> None:
    os.setsid()
    log = os.open(run / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["worker", str(run)]
    leave(work.main())


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
    leave(0)
