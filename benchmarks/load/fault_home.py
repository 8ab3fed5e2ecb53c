"""A home for tests of faults: the app and its workers on tiny data, started and killed as separate processes.

Kills reach only what a :class:`FaultHome` has started: its own app, and the dispatcher and workers that the files of
its temporary home name.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.load.visitor import Visitor
from labeltransfer.data.demo.simulate import demo_params, simulate
from labeltransfer.params import EmbedParams, IntegrateParams, RunParams, TransferParams
from labeltransfer.runs.queue.dispatching import dispatcher_files
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.known_process import KnownProcess
from tests.support.browser import Server

N_CELLS = 120
"""Cells of each side."""

ALARM = "should not be trusted"
"""What a page says of labels after so short a training: no error of the app's."""


def tiny_params(folder: Path) -> RunParams:
    """Simulate the data, and give the settings of a whole run over them that takes seconds after its imports."""
    simulate(folder, n_reference=N_CELLS, n_query=N_CELLS, n_genes=500, seed=3)
    params = demo_params(folder)
    return params.model_copy(
        update={
            "prepare": params.prepare.model_copy(update={"n_top_genes": 200}),
            "integrate": IntegrateParams(max_epochs=3, n_layers=1, n_latent=5, n_hidden=32, loop="fast"),
            "transfer": TransferParams(max_epochs=2, loop="fast"),
            "embed": EmbedParams(),
        }
    )


@dataclass
class FaultHome:
    """A home, the app in front of it, and what is known of its finished runs."""

    home: Path
    params: RunParams
    server: Server
    digests: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.home)

    @property
    def up(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    def ensure_app(self) -> bool:
        """Start the app where it is down; returns whether it was."""
        if self.up:
            return False
        self.server.stop(kill=True)
        self.server.start()
        return True

    def kill_app(self) -> None:
        self.server.stop(kill=True)

    def workers(self) -> dict[str, psutil.Process]:
        """Living workers of this home, by run."""
        found = {}
        for run in self.store.runs():
            known = None if run.written_status().over else run.worker_process()
            process = known.process() if known else None
            if process:
                found[run.id] = process
        return found

    def dispatcher(self) -> KnownProcess | None:
        """The living dispatcher of this home."""
        known = KnownProcess.read(dispatcher_files(self.store)[1])
        return known if known and known.activity() != "gone" else None

    def draft(self, seed: int) -> str:
        """Keep the settings of a run as the Data page leaves them; returns the draft's id."""
        settings = self.params.model_dump(mode="json", exclude={"name", "last_stage", "hidden_label"})
        draft = secrets.token_hex(8)
        (self.home / "drafts").mkdir(exist_ok=True)
        kept = {"settings": settings | {"seed": seed}, "notes": {}}
        (self.home / "drafts" / f"{draft}.json").write_text(json.dumps(kept))
        return draft

    def start_run(self, seed: int, *, server: Server | None = None) -> Run:
        """Start a run as a person does, by the button on Train."""
        return self.press_start(self.draft(seed), server=server)

    def press_start(self, draft: str, *, server: Server | None = None) -> Run:
        """Press the button on Train; what the page says instead of starting is raised."""
        with Visitor((server or self.server).port) as visitor:
            visitor.open("train", draft=draft)
            if not visitor.errors():
                visitor.press("Start training")
            if "run" not in visitor.query:
                raise RuntimeError(" ".join(visitor.errors()) or visitor.prose())
            return self.store.run(visitor.query["run"])

    def look(self, pages: tuple[str, ...], run: Run | None = None, *, server: Server | None = None) -> list[str]:
        """Errors that pages show, tracebacks and sentences alike."""
        found = []
        with Visitor((server or self.server).port) as visitor:
            for page in pages:
                visitor.open(page, **({"run": run.id} if run else {}))
                found += [f"{page}: {error}" for error in visitor.errors() if ALARM not in error]
        return found

    def remember_finished(self) -> None:
        """Take the digests of runs that have become done."""
        for run in self.store.runs():
            if run.id not in self.digests and run.status().state == "done":
                self.digests[run.id] = digests_of(run)

    def lost(self) -> list[str]:
        """Finished runs that are no longer what they were, bit for bit."""
        return [run_id for run_id, known in self.digests.items() if digests_of(Run(self.runs / run_id)) != known]

    @property
    def runs(self) -> Path:
        return self.home / "runs"


def digests_of(run: Run) -> dict[str, str]:
    """SHA-256 of every file of a run's artefacts, and the run's state."""
    found: dict[str, str] = {"state": run.status().state}
    for stage in run.stage_keys():
        folder = run.artefact(stage)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found[f"{folder.name}/{path.relative_to(folder)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def fault_home(folder: Path, home: Path | None = None, **env: str) -> Iterator[FaultHome]:
    """A home in a folder, with data and an app; at the end everything that it started is ended."""
    home = (home or folder / "home").resolve()
    home.mkdir(parents=True, exist_ok=True)
    subject = FaultHome(home, tiny_params(folder / "data"), Server(home, env=env))
    try:
        subject.ensure_app()
        yield subject
    finally:
        subject.kill_app()
        if dispatcher := subject.dispatcher():
            dispatcher.kill()
        for worker in subject.workers().values():
            worker.kill()
