"""Each act is noted where it is carried out, with who did it."""

import time
from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.params import run_params
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.library.library import Library
from labeltransfer.runs.records import activity, relabelling
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.activity import read_activity
from labeltransfer.runs.records.edits import add_edit, undo_edit
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import SHIPPED, Store
from labeltransfer.runs.space.cleaning import clean, delete_run, plan
from pages.door import noted_sign_in

ADA = "ada@lab.example.org"
PARAMS = run_params({side: {"path": f"{side}.h5ad"} for side in ("reference", "query")} | {"name": "Marrow"})


def noted(root: Path) -> list[tuple[str, str, str, str]]:
    """Who did what to what, the oldest first."""
    return [(act.who, act.kind, act.thing, act.name) for act in reversed(read_activity(root).acts)]


def ended(store: Store, owner: str = "") -> Run:
    run = store.create(PARAMS, owner)
    run.write_status(Status(state="done", created=time.time() - 1000, finished=time.time() - 1000))
    return run


def test_starting_and_cancelling_a_run(store: Store) -> None:
    run = store.create(PARAMS, ADA)
    for _ in range(2):
        run.request_cancel(by="root@lab.example.org")
    assert noted(store.root) == [
        (ADA, "started", "run", "Marrow"),
        ("root@lab.example.org", "cancelled", "run", "Marrow"),
    ]
    assert {act.id for act in read_activity(store.root).acts} == {run.id}


def test_deleting_a_run(store: Store) -> None:
    run = ended(store, ADA)
    delete_run(store, run, person=Person(ADA, admin=False))
    assert noted(store.root)[-1] == (ADA, "deleted", "run", "Marrow")
    assert read_activity(store.root).acts[0].id == run.id


def test_a_run_that_may_not_be_deleted_is_not_noted_as_deleted(store: Store) -> None:
    run = store.create(PARAMS, ADA)
    with pytest.raises(Exception, match=run.id):
        delete_run(store, run, person=Person("bob@lab.example.org", admin=False))
    assert [kind for _, kind, _, _ in noted(store.root)] == ["started"]


def test_cleaning_notes_runs_and_uploads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(store, ADA)
    folder = store.root / "uploads" / "0a"
    folder.mkdir(parents=True)
    (folder / "cells.h5ad").write_text("cells")
    wanted = plan(store, older_than=0, now=time.time() + 10 * 86_400)
    monkeypatch.setattr("labeltransfer.runs.space.cleaning.RESTS", 0.0)
    clean(store, wanted, person=Person("root@lab.example.org", admin=True))
    assert sorted(noted(store.root)[1:]) == [
        ("root@lab.example.org", "deleted", "run", "Marrow"),
        ("root@lab.example.org", "deleted", "upload", "cells.h5ad"),
    ]


def test_publishing_and_deleting_a_reference(reference_run: Run) -> None:
    library = Library(reference_run.root)
    library.publish(reference_run, "noted", by=Person(ADA, admin=False))
    library.delete("noted", by=Person("root@lab.example.org", admin=True))
    assert noted(reference_run.root)[-2:] == [
        (ADA, "published", "reference", "noted"),
        ("root@lab.example.org", "deleted", "reference", "noted"),
    ]


def test_relabelling(store: Store) -> None:
    run = ended(store)
    table = pd.DataFrame({"observed_label": ["B"], "kind": ["all"], "partner_label": ["T"]})
    relabelling.keep_layer(run.folder, "audited", table, [0], by=ADA)
    relabelling.remove_layer(run.folder, "audited", by=ADA)
    edit = Edit("", "one", "accept", "T", "query", "B", "T", (1,), who=ADA)
    undo_edit(run, add_edit(run, edit).id, by="root@lab.example.org")
    assert noted(store.root)[1:] == [
        *[(ADA, "relabelled", "run", "Marrow")] * 3,
        ("root@lab.example.org", "relabelled", "run", "Marrow"),
    ]


def test_no_list_is_kept_in_the_installation() -> None:
    Store(SHIPPED).run("demo").note("relabelled", ADA)
    assert not (SHIPPED / activity.FILE).exists()


def test_a_sign_in_is_noted_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted_sign_in, "_noted", {})
    now = int(time.time())
    for issued in (now, now, now - 86_400, now - 1):
        noted_sign_in.note_sign_in(ADA, issued)
    assert noted(store.root) == [(ADA, "signed in", "", "")] * 2


def test_a_sign_in_goes_on_where_the_home_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted_sign_in, "_noted", {})
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "file" / "home"))
    noted_sign_in.note_sign_in(ADA, int(time.time()))
