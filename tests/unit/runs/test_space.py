"""Quotas and cleaning: what a person may take, and what goes, never what is needed."""

import json
import os
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from labeltransfer.cli import main
from labeltransfer.errors import RunError, SettingsError
from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import cleaning, disk, quotas
from labeltransfer.runs.start.admission import admit, check_run
from labeltransfer.storage import uploads
from labeltransfer.units import parse_age, parse_size, size

DAY = 86400.0
ADA, BOB = Person("ada", admin=False), Person("bob", admin=False)


def params(**paths: str) -> RunParams:
    return run_params({side: {"path": paths.get(side, f"{side}.h5ad")} for side in ("reference", "query")})


def made(
    store: Store, owner: str = "", *, days: float = 0, asked: RunParams | None = None, kept: bool = False, **stages: int
) -> Run:
    """A run that ended some days ago, with artefacts of so many bytes, each under its own name as key."""
    run = store.create(asked or params(), owner)
    run.keep(kept)
    for key, n_bytes in stages.items():
        if not store.claim_stage(run, "prepare" if key.startswith("p") else "integrate", key):
            with store.build_stage(run, "prepare" if key.startswith("p") else "integrate", key) as folder:
                (folder / "content").write_bytes(b"x" * n_bytes)
    run.write_status(Status(state="done", created=time.time() - days * DAY, finished=time.time() - days * DAY))
    return run


def aged(path: Path, days: float) -> Path:
    """Let a file or folder, and what lies in it, look as old as that."""
    for each in (*path.rglob("*"), path):
        os.utime(each, (time.time() - days * DAY,) * 2)
    return path


def sent(content: bytes, owner: str = "", *, days: float = 0) -> Path:
    path = uploads.keep(uploads.receive(BytesIO(content)), "x.h5ad", owner)
    aged(path.parent, days)
    return path


def keys(store: Store) -> set[str]:
    return {folder.name.partition("-")[2] for folder in store.stages.iterdir()}


def ids(runs: list[Run]) -> set[str]:
    return {run.id for run in runs}


# Quotas


def test_without_settings_there_is_no_limit(store: Store) -> None:
    for _ in range(3):
        admit(store, params(), "ada")
    assert quotas.quotas() == quotas.Quotas() and quotas.room(store, "ada") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LABELTRANSFER_RUNS_PER_PERSON", "many"),
        ("LABELTRANSFER_RUNS_PER_PERSON", "0"),
        ("LABELTRANSFER_RUNS_PER_PERSON", "-1"),
        ("LABELTRANSFER_RUNS_PER_PERSON", "²"),
        ("LABELTRANSFER_DISK_PER_PERSON", "50"),
        ("LABELTRANSFER_DISK_IN_ALL", "-5GB"),
        ("LABELTRANSFER_DISK_IN_ALL", "50 GiB"),
    ],
)
def test_a_limit_that_is_none_is_said(store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        admit(store, params())
    assert store.runs() == []


def test_a_person_has_so_many_runs_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_RUNS_PER_PERSON", "2")
    made(store, "ada")  # over: does not count
    first = admit(store, params(), "ada")
    admit(store, params(), "ada")
    admit(store, params(), "bob")
    with pytest.raises(RunError, match=r"You have 2 runs running or waiting, and a person may have 2 at a time"):
        admit(store, params(), "ada")
    with pytest.raises(RunError, match="and ask for 2 more"):
        check_run(store, "bob", n_wanted=2)
    first.write_status(Status(state="cancelled"))
    admit(store, params(), "ada")


def test_many_at_once_do_not_pass_the_limit_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_RUNS_PER_PERSON", "3")
    refused = []

    def create() -> None:
        try:
            admit(store, params(), "ada")
        except RunError as error:
            refused.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.runs()) == 3 and len(refused) == 5


def test_a_shared_artefact_counts_once_in_all_and_once_for_each_person(store: Store) -> None:
    made(store, "ada", p1=1_000_000, i1=100_000)
    made(store, "ada", p1=1_000_000, i2=200_000)
    made(store, "bob", p1=1_000_000)
    sent(b"x" * 500_000, "bob")

    def own(name: str) -> float:
        return round(disk.person_bytes(store, name) / 1e6, 1)  # settings and logs take a few kB

    assert (own("ada"), own("bob"), own("eve")) == (1.3, 1.5, 0)
    assert round(disk.disk_use(store.root)["stages"] / 1e6, 1) == 1.3


def test_disk_is_limited_for_each_and_for_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, "ada", p1=100_000)
    monkeypatch.setenv("LABELTRANSFER_DISK_PER_PERSON", "100kB")
    with pytest.raises(RunError, match=r"Your runs and uploads take 10\d kB, and a person may take 100 kB"):
        admit(store, params(), "ada")
    admit(store, params(), "bob")
    assert quotas.room(store, "ada") == 0 and 90_000 < (quotas.room(store, "bob") or 0) < 100_000
    monkeypatch.setenv("LABELTRANSFER_DISK_IN_ALL", "0.1MB")
    with pytest.raises(RunError, match="in all"):
        admit(store, params(), "bob")


def test_a_finished_artefact_is_measured_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, "ada", p1=1000)
    before = disk.disk_use(store.root)
    measured = []
    walk = disk.bytes_of
    monkeypatch.setattr(disk, "bytes_of", lambda path: (measured.append(path), walk(path))[1])
    assert disk.disk_use(store.root) == before
    assert not [path for path in measured if path.is_relative_to(store.stages)]


@pytest.mark.parametrize(("text", "n_bytes"), [("50GB", 5e10), ("1.5 TB", 1.5e12), ("3mb", 3e6), (" 2 kB ", 2e3)])
def test_sizes_are_read_as_people_write_them(text: str, n_bytes: float) -> None:
    assert parse_size(text, "it") == n_bytes
    assert parse_size(size(n_bytes), "it") == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "5", "5PB", "1e3GB", "٣GB?", "5 G B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="it is"):
        parse_size(text, "it")


def test_ages_are_read_as_people_write_them() -> None:
    assert parse_age("90d", "it") == 90 * DAY and parse_age("36h", "it") == 1.5 * DAY
    with pytest.raises(SettingsError, match="90d"):
        parse_age("3 months", "it")


# Cleaning


def test_old_runs_go_with_what_no_other_run_needs(store: Store) -> None:
    old = made(store, days=100, p1=1000, i1=2000)
    new = made(store, days=10, p1=1000)
    plan = cleaning.plan(store, older_than=90 * DAY)
    assert [item.path for item in plan.items] == [old.folder]
    assert 2000 < plan.n_bytes < 2000 + 3000  # its model, settings and log, and not the shared counts
    before = sum(disk.disk_use(store.root).values())
    assert cleaning.clean(store, plan) == plan
    assert before - sum(disk.disk_use(store.root).values()) == plan.n_bytes
    assert ids(store.runs()) == {new.id} and keys(store) == {"p1"}


def test_what_is_at_work_or_kept_stays(store: Store) -> None:
    queued, running, kept = store.create(params()), made(store, days=100, p1=10), made(store, days=100, p2=10)
    queued.write_status(Status(state="queued", created=time.time() - 150))
    lock = running.worker_lock()
    with lock:
        running.write_status(Status(state="running", created=time.time() - 100 * DAY))
        kept.keep(True)
        cleaning.clean(store, cleaning.plan(store, older_than=0, until=0))
        assert ids(store.runs()) == {queued.id, running.id, kept.id} and keys(store) == {"p1", "p2"}
    kept.keep(False)
    cleaning.clean(store, cleaning.plan(store, older_than=90 * DAY))
    assert kept.id not in ids(store.runs())


def test_a_run_that_is_kept_meanwhile_stays(store: Store) -> None:
    run, upload = made(store, days=100, p1=10), sent(b"1", days=100)
    plan = cleaning.plan(store, older_than=90 * DAY)
    assert {item.path for item in plan.items} == {run.folder, upload.parent}
    run.keep(True)
    store.create(params(query=str(upload)))
    assert cleaning.clean(store, plan).items == ()
    assert run.id in ids(store.runs()) and keys(store) == {"p1"} and upload.exists()


def test_the_oldest_go_until_the_rest_takes_no_more(store: Store) -> None:
    oldest, middle, newest = (made(store, days=d, **{f"i{d}": 100_000, "p0": 50_000}) for d in (30, 20, 10))
    plan = cleaning.plan(store, until=200_000)
    assert [item.path for item in plan.items] == [oldest.folder, middle.folder]
    cleaning.clean(store, plan)
    assert ids(store.runs()) == {newest.id} and sum(disk.disk_use(store.root).values()) <= 200_000
    assert cleaning.plan(store, until=200_000).items == ()


def test_inputs_go_by_age_once_no_run_needs_them(store: Store, lt_home: Path) -> None:
    needed, spare, fresh = sent(b"1", days=99), sent(b"22", days=99), sent(b"333")
    freed = sent(b"4444", days=99)
    downloads = lt_home / "downloads"
    downloads.mkdir()
    for name in ("used.h5ad", "spare.h5ad", "broken.h5ad.part", "spare.h5ad.lock"):
        (downloads / name).write_text("x")
        aged(downloads / name, 99)
    made(store, asked=params(reference=str(needed), query=str(downloads / "used.h5ad")))
    made(store, days=95, asked=params(reference=str(needed), query=str(freed)))
    cleaning.clean(store, cleaning.plan(store, older_than=90 * DAY))
    assert [path.exists() for path in (needed, spare, fresh, freed)] == [True, False, True, False]
    assert sorted(path.name for path in downloads.iterdir()) == ["spare.h5ad.lock", "used.h5ad"]
    cleaning.clean(store, cleaning.plan(store, older_than=0, until=0))
    assert fresh.exists()  # not a day old: a person may be about to start a run with it


def test_what_was_chosen_today_stays(store: Store, lt_home: Path) -> None:
    chosen, forgotten = sent(b"1", days=99), sent(b"2", days=99)
    (lt_home / "drafts").mkdir()
    for path, days in ((chosen, 0.5), (forgotten, 50)):
        draft = lt_home / "drafts" / f"{days}.json"
        draft.write_text(json.dumps({"settings": {"query": {"path": str(path)}}}))
        aged(draft, days)
    (lt_home / "drafts" / "damaged.json").write_text("[" * 100_000)
    cleaning.clean(store, cleaning.plan(store, until=0))
    assert chosen.exists() and not forgotten.exists()


def test_inputs_stay_where_some_run_cannot_tell_what_it_reads(store: Store) -> None:
    spare, damaged = sent(b"1", days=99), made(store)
    (damaged.folder / "params.json").write_text("{")
    assert cleaning.plan(store, older_than=90 * DAY).items == ()
    assert spare.exists()


def test_artefacts_stay_where_some_run_cannot_tell_what_it_needs(store: Store) -> None:
    made(store, days=99, p1=100_000)
    damaged = made(store)
    (damaged.folder / "stages.json").write_text("{")
    plan = cleaning.plan(store, older_than=90 * DAY)
    cleaning.clean(store, plan)
    assert keys(store) == {"p1"} and plan.n_bytes < 50_000


def test_leftovers_go_and_references_and_the_demo_are_never_touched(store: Store, lt_home: Path) -> None:
    places = {
        "runs/20250101-000000-000000abcd/log.txt": False,
        "stages/.prepare-k~20250101-000000-000000abcd/half": False,
        "stages/prepare-nobody/content": False,
        "uploads/.arriving/abc": False,
        "references/atlas/model.pt": True,
        "demo/reference.h5ad": True,
    }
    for name in places:
        (lt_home / name).parent.mkdir(parents=True)
        (lt_home / name).write_text("x")
    aged(lt_home, 200)
    cleaning.clean(store, cleaning.plan(store, older_than=DAY, until=0))
    assert {name: (lt_home / name).exists() for name in places} == places


def test_what_is_arriving_or_being_made_is_no_leftover(store: Store, lt_home: Path) -> None:
    for name in ("runs/20250101-000000-000000abcd", "uploads/.arriving"):
        (lt_home / name).mkdir(parents=True)
    (lt_home / "uploads" / ".arriving" / "abc").write_text("x")
    assert cleaning.plan(store).items == ()


def test_a_person_cleans_their_own(store: Store) -> None:
    hers, his, nobodys = (made(store, name, days=100) for name in ("ada", "bob", ""))
    her_file, shared = sent(b"1", "ada", days=100), sent(b"2", "ada", days=100)
    sent(b"2", "bob")
    aged(shared.parent, 100)
    plan = cleaning.plan(store, older_than=DAY, person=ADA)
    assert {item.path for item in plan.items} == {hers.folder, her_file.parent}
    everything = cleaning.plan(store, older_than=DAY)
    cleaning.clean(store, everything, person=BOB)  # another person's plan gives no right
    assert ids(store.runs()) == {hers.id, nobodys.id} and his.id not in ids(store.runs())


def test_two_cleanings_next_to_workers_never_cost_what_a_run_needs(store: Store) -> None:
    stop, faults = threading.Event(), []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def loop() -> None:
            try:
                while not stop.is_set():
                    work()
            except Exception as error:  # noqa: BLE001  shown below, in the test's own thread
                faults.append(error)

        return threading.Thread(target=loop)

    def build() -> None:
        made(store, days=100, kept=True, p1=100, i1=100)
        made(store, days=100, p1=100, i2=100)  # may go as soon as it is done

    cleaners = [guarded(lambda: void(cleaning.clean(store, cleaning.plan(store, older_than=DAY)))) for _ in range(2)]
    threads = [*cleaners, guarded(build), guarded(build)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    kept = [run for run in store.runs() if run.kept]
    assert kept and all(run.artefact("prepare").exists() and run.artefact("integrate").exists() for run in kept)


def void(_: object) -> None:
    """Drop a result."""


# On the command line


def test_the_command_says_what_goes_and_removes_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    old = made(store, days=100, p1=3_000_000)
    assert main.main(["clean", "--older-than", "90d", "--dry-run"]) == 0
    assert old.id in capsys.readouterr().out and old.folder.exists()
    assert main.main(["clean", "--older-than", "90d"]) == main.USER_ERROR  # nobody is there to ask
    assert "--yes" in capsys.readouterr().err and old.folder.exists()
    assert main.main(["clean", "--older-than", "90d", "--yes"]) == 0
    assert "3 MB are free again" in capsys.readouterr().out and not old.folder.exists()
    assert main.main(["clean"]) == 0
    assert "nothing to clean" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("", False), ("no", False)])
def test_the_command_asks(store: Store, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool) -> None:
    old = made(store, days=100)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert main.main(["clean", "--older-than", "90d"]) == 0
    assert old.folder.exists() is not gone


@pytest.mark.parametrize("option", ["--older-than=3 months", "--until=5"])
def test_an_option_that_cannot_be_read_is_said(lt_home: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main.main(["clean", option]) == main.USER_ERROR
    assert option.partition("=")[0] in capsys.readouterr().err
