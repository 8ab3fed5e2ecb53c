"""The runs of a home as the order of the queue needs them, kept in memory and read again only where they change."""

from contextlib import suppress
from pathlib import Path

from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.queue.order import QueueEntry, entry_of
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store


class Line:
    """What :func:`.order.turns` goes by, of every run of this machine.

    A run that is over changes no more, and one in the queue only by leaving it. So a look at a home of thousands of
    runs reads no more than two lists of names and the files of the few runs that are at work.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.in_queue: set[str] = set()
        self.unended: set[str] = set()
        """Runs, by id, that are not over and that a process has, or may have."""
        self._runs: dict[str, Run] = {}
        self._over: dict[str, QueueEntry | None] = {}
        self._waiting: dict[str, QueueEntry] = {}

    def look(self) -> list[QueueEntry]:
        """Entries of all runs as of now."""
        self.in_queue = _names(self.store.root / "queue")
        ids = _names(self.store.root / "runs")
        for kept in (self._runs, self._over, self._waiting):
            for gone in kept.keys() - ids:
                del kept[gone]
        self.unended = set()
        found = []
        for run_id in ids:
            entry = self._over[run_id] if run_id in self._over else self._entry(run_id)
            if entry:
                found.append(entry)
        return found

    @property
    def waiting(self) -> set[str]:
        """Runs, by id, that wait in the queue for a worker, as of the last look."""
        return set(self._waiting)

    def run(self, run_id: str) -> Run:
        """The run of an id, whose settings are read once."""
        return self._runs.setdefault(run_id, Run(self.store.root / "runs" / run_id))

    def read_again(self, run_id: str) -> None:
        """Forget that a run waits: a worker was called for it, or it was cancelled."""
        self._waiting.pop(run_id, None)

    def _entry(self, run_id: str) -> QueueEntry | None:
        if run_id in self.in_queue and run_id in self._waiting:
            return self._waiting[run_id]
        self._waiting.pop(run_id, None)
        run = self.run(run_id)
        # A run that is damaged is one bad run: it has no place, and the others keep theirs.
        with suppress(LabelTransferError, OSError):
            if not (run.folder / "params.json").exists() or run.on_cluster:
                return None
            status = run.status()
            entry = entry_of(run, status)
            if status.over:
                self._over[run_id] = entry
            elif run_id in self.in_queue and entry and not status.heartbeat:
                self._waiting[run_id] = entry
            else:
                self.unended.add(run_id)
            return entry
        return None


def _names(folder: Path) -> set[str]:
    """Names in a folder, without those of files that are being written."""
    with suppress(FileNotFoundError):
        return {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return set()
