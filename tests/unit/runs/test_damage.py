"""One bad run is one bad run: whatever became of a file of it, all other runs are listed, queued, counted and kept."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labeltransfer.cli.main import main
from labeltransfer.errors import DamagedError, RunError
from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.queue.line import Line
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.queue.order import waiting_runs
from labeltransfer.runs.records.access import Person, may_change, may_see
from labeltransfer.runs.records.damage import damage
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import cleaning, disk
from labeltransfer.runs.start.forecast import expected_starts
from labeltransfer.storage.records import printable
from tests.support import ROOT
from tests.support.damages import CONTENTS, SHAPES, damages, spoil

DAMAGES = list(damages())
OLD = 400 * 86400.0


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    for name in ("r.h5ad", "q.h5ad"):
        (tmp_path / name).write_bytes(b"cells")
    return run_params({side: {"path": str(tmp_path / f"{side[0]}.h5ad")} for side in ("reference", "query")})


def finished(store: Store, params: RunParams, key: str, *, owner: str = "") -> Run:
    """A run that ended long ago, with one artefact."""
    run = store.create(params, owner)
    store.claim_stage(run, "prepare", key)
    with store.build_stage(run, "prepare", key) as folder:
        (folder / "result.txt").write_text("whole")
    (run.folder / "events.jsonl").write_text("")
    began = time.time() - OLD
    run.write_status(Status(state="done", created=began, started=began, finished=began))
    return run


def walks(store: Store) -> dict[str, Callable[[], object]]:
    """Everything that looks at all runs."""
    return {
        "list": store.runs,
        "states": lambda: [observed_status(run) for run in store.runs()],
        "who may": lambda: [(may_see(run, Person("ada")), may_change(run, Person("ada"))) for run in store.runs()],
        "queue": lambda: waiting_runs(store),
        "dispatcher": lambda: Line(store).look(),
        "forecast": lambda: expected_starts(store.runs(), waiting_runs(store)),
        "garbage": store.garbage,
        "collect": store.collect_garbage,
        "plan": lambda: cleaning.plan(store, older_than=1.0),
        "space": lambda: disk.disk_use(store.root),
        "of a person": lambda: disk.person_bytes(store, "ada"),
        "events": lambda: [(run.events(), run.log_tail(), run.kept, run.on_cluster) for run in store.runs()],
        "command": lambda: main(["clean", "--older-than", "1d", "--dry-run"]),
    }


def test_no_damage_of_one_run_stops_what_looks_at_all(
    store: Store, params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeltransfer.runs.queue.on_cluster.ray_cluster", lambda address: None)
    good = finished(store, params, "good", owner="ada")
    waiting = store.create(params, "ada")
    bad = {}
    for number, (about, file, how) in enumerate(DAMAGES):
        run = finished(store, params, f"bad{number}", owner="ben")
        spoil(run, file, how)
        bad[run.id] = (about, file)
    assert len(bad) >= 57
    for name, walk in walks(store).items():
        try:
            walk()
        except BaseException as error:
            raise AssertionError(f"'{name}' was stopped") from error
    found = {run.id: damage(run) for run in store.runs()}
    assert set(found) == {good.id, waiting.id, *bad}
    assert not found[good.id] and not found[waiting.id]
    missed = {about for run_id, (about, file) in bad.items() if list(found[run_id]) != [file]}
    assert not missed, "each names the file that is damaged, and no other"
    assert [run.id for run in waiting_runs(store)] == [waiting.id]
    assert good.status().state == "done" and good.artefact("prepare", "result.txt").read_text() == "whole"
    assert not store.garbage(), "what a damaged run needs is unknown, so nothing goes"
    for run in store.runs():
        if run.id in bad:
            assert may_change(run, Person("root", admin=True)) and not may_change(run, Person("ada", admin=False))
            cleaning.delete_run(store, run)
    assert {run.id for run in store.runs()} == {good.id, waiting.id}
    assert store.has_stage("prepare", "good") and len(list(store.stages.iterdir())) == 1


@pytest.mark.parametrize(
    ("file", "how"), [(file, how) for _, file, how in DAMAGES], ids=[about for about, _, _ in DAMAGES]
)
def test_a_damaged_file_raises_one_error_alone(
    store: Store, params: RunParams, file: str, how: Callable[[Path], None]
) -> None:
    run = finished(store, params, "k")
    spoil(run, file, how)
    fresh = Run(run.folder)
    for read in (lambda: fresh.params, fresh.read_status, fresh.stage_keys, lambda: fresh.artefact("prepare")):
        try:
            read()
        except DamagedError as error:
            assert (error.path == run.folder / file and "put a copy" in str(error)) or "delete" in str(error)
    assert fresh.status().state in ("done", "failed") and fresh.owner in ("", "?")


def test_a_damaged_status_of_a_living_worker_is_not_over(store: Store, params: RunParams) -> None:
    run = store.create(params)
    (run.folder / "status.json").write_bytes(b"")
    with run.worker_lock():
        assert run.status().state == "running"
        with pytest.raises(RunError, match="still running"):
            cleaning.delete_run(store, run)
    assert run.status().state == "failed" and run.status().created > 0


def test_a_link_to_nothing_in_place_of_all_runs_is_no_empty_home(store: Store, params: RunParams) -> None:
    run = finished(store, params, "k")
    (store.root / "runs").rename(store.root / "elsewhere")
    (store.root / "runs").symlink_to(store.root / "unmounted")
    with pytest.raises(DamagedError, match="runs cannot be read"):
        store.collect_garbage()
    assert store.has_stage("prepare", "k") and run.id


@pytest.mark.parametrize("by", ["cleaning", "hand"])
def test_a_run_folder_of_a_strange_name_is_listed_and_goes(store: Store, params: RunParams, by: str) -> None:
    run = finished(store, params, "k")
    strange = Path(os.fsdecode(os.fsencode(store.root / "runs") + b"/caf\xe9\n"))
    run.folder.rename(strange)
    (run,) = store.runs()
    assert run.id == r"caf\xe9\n" and printable(str(strange)).endswith(r"caf\xe9\n")
    if by == "hand":
        cleaning.delete_run(store, run)
    else:
        assert main(["clean", "--older-than", "1d", "--yes"]) == 0
    assert store.runs() == []


@pytest.mark.parametrize("about", [*CONTENTS, *SHAPES])
def test_a_damaged_draft_keeps_nothing_from_being_cleaned(store: Store, params: RunParams, about: str) -> None:
    draft = store.root / "drafts" / "0123456789abcdef.json"
    draft.parent.mkdir()
    if about in CONTENTS:
        draft.write_bytes(CONTENTS[about])
    else:
        SHAPES[about](draft)
    finished(store, params, "k")
    assert main(["clean", "--older-than", "1d", "--yes"]) == 0
    assert store.runs() == []


@pytest.fixture
def opened() -> Iterator[Path]:
    """A folder that every user of this machine may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has a second user at hand")
def test_a_second_user_of_the_server_sees_their_runs_next_to_closed_ones(
    params: RunParams, opened: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(opened)
    monkeypatch.setenv("LABELTRANSFER_HOME", str(opened))
    closed = [finished(store, params, f"closed{i}", owner="ada") for i in range(3)]
    own = finished(store, params, "own", owner="ben")
    uid = 65_534
    for path in store.root.rglob("*"):
        path.chmod(0o777)
    for path in (own.folder, *own.folder.rglob("*")):
        os.chown(path, uid, uid)
    closed[0].folder.chmod(0o700)
    (closed[1].folder / "status.json").chmod(0o600)
    (closed[2].folder / "stages.json").chmod(0o600)
    store.stage_folder("prepare", "closed0").chmod(0o700)
    code = (
        "import os, sys, time; from tests.unit.runs.test_damage import *; "
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid}); os.umask(0o077); store = Store(Path(sys.argv[1]))\n"
        "for name, walk in walks(store).items(): print(name, flush=True); walk()\n"
        "print({run.id: sorted(damage(run)) for run in store.runs()})\n"
        "closed = next(run for run in store.runs() if 'params.json' in damage(run))\n"
        "try: cleaning.delete_run(store, closed)\n"
        "except RunError as error: print('REFUSED', error)\n"
        "print('OWN', [run.artefact('prepare').name for run in store.runs() if run.owner == 'ben'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.root)],
        cwd=ROOT,
        env=os.environ
        | {"LABELTRANSFER_HOME": str(store.root), "HOME": str(store.root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert "REFUSED" in done.stdout and "correct its permissions" in done.stdout
    assert "OWN ['prepare-own']" in done.stdout
    assert "'status.json'" in done.stdout and "'stages.json'" in done.stdout
    assert store.has_stage("prepare", "closed2"), "unknown needs keep every artefact"
