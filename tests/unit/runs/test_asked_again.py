"""What a plan found is asked again when it is carried out: what changed meanwhile stays, and the answer says so."""

import json
import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from filelock import FileLock

from labeltransfer.cli import main
from labeltransfer.errors import RunError
from labeltransfer.params import RunParams, run_params
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.library.library import Library
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.edits import add_edit
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import cleaning, disk
from labeltransfer.storage import download, uploads

DAY = 86400.0
ADA, ADMIN = Person("ada", admin=False), Person("eve", admin=True)
EDIT = Edit("", "mine", "exclude", "", "query", "T cell", "B cell", rows=(1,))


def params(query: str = "query.h5ad") -> RunParams:
    return run_params({"reference": {"path": "reference.h5ad"}, "query": {"path": query}})


def ended(store: Store, owner: str = "ada", *, key: str = "") -> Run:
    """A run that ended 100 days ago, with an artefact of 1,000 bytes under ``key``."""
    run = store.create(params(), owner)
    if key and not store.claim_stage(run, "prepare", key):
        with store.build_stage(run, "prepare", key) as folder:
            (folder / "content").write_bytes(b"x" * 1000)
    run.write_status(Status(state="done", created=time.time() - 100 * DAY, finished=time.time() - 100 * DAY))
    return run


def aged(path: Path, days: float = 100) -> Path:
    for each in (*path.rglob("*"), path):
        os.utime(each, (time.time() - days * DAY,) * 2)
    return path


def sent(content: bytes, owner: str = "ada") -> Path:
    return aged(uploads.keep(uploads.receive(BytesIO(content)), "x.h5ad", owner).parent) / "x.h5ad"


def choose(store: Store, path: Path) -> None:
    """Name a file in a person's draft."""
    folder = store.root / "drafts"
    folder.mkdir(exist_ok=True)
    (folder / "0123456789abcdef.json").write_text(json.dumps({"settings": {"query": {"path": str(path)}}}))


def downloaded(store: Store, name: str = "senis.h5ad") -> Path:
    path = store.root / "downloads" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 1000)
    return aged(path)


Change = Callable[[Store, Run, Path], object]

CHANGES: dict[str, tuple[Person, str, Change]] = {
    "a run is kept": (ADMIN, "run", lambda store, run, path: run.keep(True)),
    "a run was kept, and is no longer": (ADMIN, "run", lambda store, run, path: (run.keep(True), run.keep(False))),
    "a run's labels are edited": (ADMIN, "run", lambda store, run, path: add_edit(run, EDIT)),
    "a run is at work again": (
        ADMIN,
        "run",
        lambda store, run, path: start_again(run),
    ),
    "a run belongs to another person": (
        ADA,
        "run",
        lambda store, run, path: (run.folder / "owner.txt").write_text("b"),
    ),
    "an upload is sent again": (ADMIN, "upload", lambda store, run, path: uploads.keep(again(path), "x.h5ad", "ada")),
    "an upload is sent by another": (ADA, "upload", lambda store, run, path: uploads.keep(again(path), "y", "bob")),
    "an owner is added": (ADA, "upload", lambda store, run, path: claim(path)),
    "a draft names an upload": (ADMIN, "upload", lambda store, run, path: choose(store, path)),
    "a run needs an upload": (ADMIN, "upload", lambda store, run, path: store.create(params(str(path)))),
    "a run is damaged": (ADMIN, "upload", lambda store, run, path: damage(store)),
    "a draft names a download": (ADMIN, "download", lambda store, run, path: choose(store, path)),
    "a run needs a download": (ADMIN, "download", lambda store, run, path: store.create(params(str(path)))),
    "a download is used": (ADMIN, "download", lambda store, run, path: os.utime(path)),
    "a download goes on": (ADMIN, "part", lambda store, run, path: open_lock(path)),
    "an upload goes on": (ADMIN, "arriving", lambda store, run, path: path.write_bytes(b"more")),
    "a run comes into being": (ADMIN, "unborn", lambda store, run, path: (path / "params.json").write_text("{}")),
}


def again(path: Path) -> uploads.ReceivedFile:
    return uploads.receive(BytesIO(path.read_bytes()))


def claim(path: Path) -> None:
    """Add an owner without any change of times."""
    facts = path.parent.stat()
    with (path.parent / uploads.OWNERS).open("a") as file:
        file.write("bob\n")
    os.utime(path.parent / uploads.OWNERS, (facts.st_mtime,) * 2)


def damage(store: Store) -> None:
    (store.create(params()).folder / "params.json").write_text("{")


def start_again(run: Run) -> None:
    run.write_status(Status(state="running", created=time.time()))
    lock = run.worker_lock()
    lock.acquire()
    HELD.append(lock)


HELD: list[FileLock] = []
"""Locks that a test holds until it ends."""


def open_lock(path: Path) -> None:
    lock = FileLock(download.lock_path(path.with_name("senis.h5ad")))
    lock.acquire()
    HELD.append(lock)


@pytest.mark.parametrize("case", CHANGES)
def test_what_changed_after_the_plan_stays(store: Store, case: str) -> None:
    person, what, change = CHANGES[case]
    run = ended(store)
    file = sent(b"content")
    place = {"run": run.folder, "upload": file.parent}.get(what)
    if what in ("download", "part"):
        place = file = downloaded(store, "senis.h5ad" + (".part" if what == "part" else ""))
    elif what == "arriving":
        place = file = store.root / "uploads" / uploads.INCOMING / "abc"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        aged(file)
    elif what == "unborn":
        place = file = store.root / "runs" / "20250101-000000-000000abcd"
        place.mkdir()
        aged(place)
    assert place is not None
    planned = cleaning.plan(store, older_than=90 * DAY, person=person)
    assert place in {item.path for item in planned.items}
    change(store, run, file)
    done = cleaning.clean(store, planned, person=person)
    for lock in (HELD.pop() for _ in range(len(HELD))):
        lock.release()
    assert place.exists()
    stays = {stay.item.path: stay.why for stay in done.stays}
    assert stays[place]
    assert place not in {item.path for item in done.items}
    others = {item.path for item in planned.items} - set(stays)
    assert {item.path for item in done.items} == others and not any(path.exists() for path in others)


def test_results_that_another_run_came_to_need_stay_and_are_not_counted_as_free(store: Store) -> None:
    old = ended(store, key="p1")
    planned = cleaning.plan(store, older_than=90 * DAY)
    new = store.create(params(), "bob")
    assert store.claim_stage(new, "prepare", "p1")
    done = cleaning.clean(store, planned)
    assert not old.folder.exists() and new.artefact("prepare").exists()
    assert done.n_bytes == planned.n_bytes - disk.bytes_of(new.artefact("prepare"))
    assert [stay.why for stay in done.stays] == ["another run needs results of it by now"]


def test_garbage_that_a_run_came_to_need_stays(store: Store) -> None:
    with store.build_stage(ended(store), "prepare", "p2") as folder:
        (folder / "content").write_bytes(b"x")
    planned = cleaning.plan(store)
    assert [item.path.name for item in planned.items] == ["prepare-p2"]
    store.claim_stage(store.create(params()), "prepare", "p2")
    done = cleaning.clean(store, planned)
    assert done.items == () and [stay.why for stay in done.stays] == ["a run needs it by now"]
    assert (store.stages / "prepare-p2").exists()


def test_what_another_cleaning_removed_is_not_counted_twice(store: Store) -> None:
    ended(store, key="p1")
    planned = cleaning.plan(store, older_than=90 * DAY)
    assert cleaning.clean(store, planned) == planned
    done = cleaning.clean(store, planned)
    assert done.n_bytes == 0 and [stay.why for stay in done.stays] == [cleaning.GONE]


def test_what_a_killed_removal_left_goes_with_the_next_one(store: Store) -> None:
    run = ended(store)
    half = store.root / "removing" / f"{run.id}~0a"
    half.parent.mkdir()
    run.folder.rename(half)
    assert store.runs() == []
    planned = cleaning.plan(store)
    assert [item.path for item in planned.items] == [half] and disk.disk_use(store.root)["removing"] > 0
    assert cleaning.clean(store, planned) == planned and not half.exists()


def test_the_command_says_what_stayed(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(store)
    monkeypatch.setattr("labeltransfer.cli.clean._agreed", lambda: run.keep(True) or True)
    assert main.main(["clean", "--older-than", "90d"]) == 0
    said = capsys.readouterr().out
    assert f"{run.id} stays: it is marked to be kept" in said and "Removed 0 of 1; 0 bytes are free again" in said


# Delete buttons


@pytest.mark.parametrize(
    ("person", "change", "why"),
    [
        (ADMIN, lambda run: run.keep(True), "was changed"),
        (ADMIN, lambda run: add_edit(run, EDIT), "was changed"),
        (ADA, lambda run: (run.folder / "owner.txt").write_text("bob"), "belongs to bob"),
        (ADMIN, lambda run: cleaning.delete_run(Store(run.root), run), "no such run"),
    ],
    ids=["kept", "edited", "another owner", "deleted"],
)
def test_a_run_that_changed_after_the_question_is_not_deleted(
    store: Store, person: Person, change: Callable[[Run], object], why: str
) -> None:
    run = ended(store)
    assert run.owner == "ada"
    touched = cleaning.run_touched(run)
    change(run)
    before = run.folder.exists()
    with pytest.raises(RunError, match=why):
        cleaning.delete_run(store, run, person=person, touched=touched)
    assert run.folder.exists() == before


def test_another_reference_under_the_same_name_is_not_deleted(store: Store) -> None:
    first = published(store, "one")
    published(store, "two")
    with pytest.raises(RunError, match="Another reference was published"):
        Library(store.root).delete("atlas", digest=first)
    assert (store.root / "references" / "atlas").exists()
    Library(store.root).delete("atlas", digest=Library(store.root).card("atlas").digest)
    assert not (store.root / "references" / "atlas").exists()


def test_a_reference_that_a_waiting_run_needs_is_not_deleted(store: Store) -> None:
    digest = published(store, "one")
    asked = params().model_dump() | {"mapping": {"reference": "atlas", "digest": digest}}
    waiting = store.create(run_params(asked))
    with pytest.raises(RunError, match=waiting.id):
        Library(store.root).delete("atlas", digest=digest)
    waiting.write_status(Status(state="cancelled"))
    Library(store.root).delete("atlas", digest=digest)
    assert not (store.root / "references" / "atlas").exists()


def published(store: Store, description: str) -> str:
    """Put a reference in place by hand, as publishing does; returns its digest."""
    card = {"description": description, "owner": "ada", "published": time.time(), "n_cells": 1, "n_genes": 1}
    card |= {"file": "r.h5ad", "technology": "10x", "labels": {}, "batches": {}, "genes": [], "scores": {"n_cells": 0}}
    card |= {"run_id": "x", "settings": {}, "versions": {}, "checksums": {}}
    folder = store.root / "references" / "atlas"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps(card))
    return Library(store.root).card("atlas").digest
