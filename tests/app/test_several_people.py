"""Several people on one server: whose runs they see, and what they may do with them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.config import variable
from labeltransfer.params import RunParams, SideParams
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.records.access import Person, may_change, may_see
from labeltransfer.runs.records.edits import add_edit, read_edits
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.sign_ins import WAS_ON
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start import executors
from labeltransfer.runs.worker import pipeline
from labeltransfer.storage.digests import digest
from labeltransfer.storage.home import home
from pages.shared import queue_words
from tests.support import ROOT
from tests.support.pages import AUTH, PAGES, finished_run, labels, press, said

ADA, BOB, ROOT_ADMIN = "ada@lab.example.org", "bob@lab.example.org", "root@lab.example.org"
VISIBLE = variable("runs_visible")
GONE = "20260101-000000-000000abcd"


@pytest.fixture(autouse=True)
def fresh(lt_home: Path) -> Iterator[None]:
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def app(page: str, person: str, *, run: str = "", **claims: object) -> AppTest:
    """The app as ``person`` sees one of its pages; no one signs in where the person is empty."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if person:
        at.secrets["auth"] = AUTH
        at.secrets["access"] = {"domains": ["lab.example.org"], "admins": [ROOT_ADMIN.title()]}
        at.user = {"is_logged_in": True, "email": person, "email_verified": True, **claims}
    else:
        (home() / WAS_ON).unlink(missing_ok=True)
    if run:
        at.query_params["run"] = run
    at.run()
    return at if page == "data" else at.switch_page(f"pages/{page}.py").run()


def kept(owner: str, **status: object) -> Run:
    """A run on disk in some state."""
    run = default_store().create(RunParams(reference=SideParams(path="r"), query=SideParams(path="q")), owner)
    run.write_status(Status(**{"created": time.time(), **status}))
    return run


def owned(run: Run, owner: str) -> Run:
    """A finished run that was made by hand, as one of ``owner``."""
    (run.folder / "owner.txt").write_text(owner)
    return Run(run.folder)


def shown(at: AppTest) -> str:
    """Everything that a page shows, however it was asked."""
    tables = [frame.value.to_csv() for frame in at.dataframe]
    more = [e.label for e in [*at.get("download_button"), *at.button, *at.metric]]
    return "\n".join([said(at), *map(str, more), *tables])


@pytest.mark.parametrize(
    ("owner", "person", "changes", "sees_own"),
    [
        (ADA, Person(ADA, False), True, True),
        (ADA, Person(BOB, False), False, False),
        (ADA, Person(BOB, True), True, True),
        (ADA, Person("", False), False, False),
        ("", Person("", False), False, True),
        ("", Person(BOB, False), False, True),
        (ADA, Person(), True, True),
    ],
)
def test_owner_and_admins_change_a_run(
    owner: str, person: Person, changes: bool, sees_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept(owner)
    assert may_change(run, person) is changes
    assert may_see(run, person)
    monkeypatch.setenv(VISIBLE, "own")
    assert may_see(run, person) is sees_own


def test_a_run_belongs_to_who_presses_the_button(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(executors, "start", started.append)
    monkeypatch.setattr(pipeline, "reusable_stages", lambda *_: [])  # the made run has no files
    run = finished_run()
    for person, owner in (("Ada@Lab.example.org", ADA), ("", "")):
        at = app("explore", person, run=run.id)
        press(at, next(label for label in labels(at) if label.startswith("Run under")))
        assert not at.exception
        assert {r.owner for r in started} == {owner}
        for one in started:
            one.write_status(Status(state="failed"))
        started.clear()


def test_an_address_that_no_one_vouches_for_makes_no_owner_and_no_admin() -> None:
    script = """
import streamlit as st
from pages.door.sign_in import visitor
st.write(repr(visitor()))
"""
    for claims, person in (
        ({"email": ROOT_ADMIN, "email_verified": True}, Person(ROOT_ADMIN, True)),
        ({"email": ROOT_ADMIN, "email_verified": "true"}, Person(ROOT_ADMIN, True)),
        ({"email": ROOT_ADMIN, "sub": "7"}, Person("account 7", False)),
        ({"email": "\u212aim@lab.example.org", "email_verified": True, "sub": "7"}, Person("account 7", False)),
        ({"email": ROOT_ADMIN, "email_verified": False, "sub": "7"}, Person("account 7", False)),
        ({"email": ROOT_ADMIN, "email_verified": "false", "sub": "7"}, Person("account 7", False)),
        ({"sub": "7"}, Person("account 7", False)),
    ):
        at = AppTest.from_string(script)
        at.secrets["auth"] = AUTH
        at.secrets["access"] = {"admins": [ROOT_ADMIN, "kim@lab.example.org"]}
        at.user = {"is_logged_in": True, **claims}
        assert repr(person) in said(at.run())
    (home() / WAS_ON).unlink(missing_ok=True)
    at = AppTest.from_string(script)
    assert repr(Person("", True)) in said(at.run())


@pytest.mark.parametrize("page", PAGES)
def test_a_guessed_id_is_answered_like_one_that_does_not_exist(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "own")
    hidden = owned(finished_run(counts=page != "preprocess"), ADA)
    mine = app(page, ADA, run=hidden.id)
    guessed, gone = app(page, BOB, run=hidden.id), app(page, BOB, run=GONE)  # what the first left in caches is there
    for at in (mine, guessed, gone):
        assert not at.exception
    assert shown(guessed).replace(hidden.id, GONE) == shown(gone)
    assert shown(guessed) != shown(mine)
    if page in ("explore", "compare", "export"):
        assert "There is no such run" in said(guessed)


def chosen(at: AppTest, *runs: Run) -> AppTest:
    """The Runs page with some of its rows chosen."""
    listed = ["demo", *(run.id for run in default_store().runs())]
    rows = [listed.index(run.id) for run in runs]
    at.session_state[f"runs-{digest(' '.join(listed))}"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return at.run()


def disabled(at: AppTest, label: str) -> bool:
    return next(button.disabled for button in at.button if button.label == label)


def test_only_owner_and_admins_delete_and_cancel_on_the_runs_page() -> None:
    done, busy = kept(ADA, state="failed"), kept(ADA, state="running", started=time.time())
    with busy.worker_lock():
        for person, may in ((BOB, False), (ADA, True), (ROOT_ADMIN, True), ("", True)):
            at = chosen(app("runs", person), done)
            assert disabled(at, "Delete") is not may
            assert (ADA in said(at)) is not may
            assert disabled(chosen(at, busy), "Cancel") is not may
            table = at.dataframe[0].value
            assert ("Owner" in table) is bool(person)
            if person:
                assert sorted(table["Owner"]) == [ADA, ADA, "everyone"]


def test_a_dialog_that_was_opened_for_another_changes_nothing() -> None:
    script = """
import streamlit as st
from labeltransfer.runs.records.store import default_store
from pages.shared.start import confirm_cancel, confirm_delete
run = default_store().runs()[0]
(confirm_cancel if st.session_state["what"] == "Cancel the run" else lambda run: confirm_delete([run]))(run)
"""
    for what, status in (("Cancel the run", {"state": "queued"}), ("Delete for good", {"state": "failed"})):
        run = kept(ADA, **status)
        for person, happens in ((BOB, False), (ADA, True)):
            at = AppTest.from_string(script)
            at.secrets["auth"] = AUTH
            at.user = {"is_logged_in": True, "email": person, "email_verified": True}
            at.session_state["what"] = what
            press(at.run(), what)
            assert (run.cancel_requested() or not run.folder.exists()) is happens
            assert happens or f"belongs to {ADA}" in said(at)


def test_with_visibility_own_the_runs_page_lists_no_run_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kept(ADA, state="failed")
    monkeypatch.setenv(VISIBLE, "own")
    mine = kept(BOB, state="failed")
    unowned = kept("", state="failed")
    assert list(app("runs", BOB).dataframe[0].value["Owner"]) == ["everyone", "everyone", BOB]
    assert len(app("runs", ROOT_ADMIN).dataframe[0].value) == 4
    assert len(app("runs", "").dataframe[0].value) == 4
    assert mine.owner == BOB and unowned.owner == ""


def test_a_waiting_run_names_the_running_ones_that_its_owner_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = kept(ADA, state="running", started=time.time())
    waiting = kept(BOB)
    monkeypatch.setattr(queue_words, "expected_starts", lambda *_: {waiting.id: 1500.0})
    with busy.worker_lock(), waiting.worker_lock():
        at = app("train", BOB, run=waiting.id)
        assert "number 1 of 1 in the queue, expected to start in about 25 minutes. Running now" in said(at)
        assert "Cancel" in labels(at)
        states = app("runs", BOB).dataframe[0].value["State"]
        assert "queued: number 1 of 1, expected to start in about 25 minutes" in list(states)
        at = app("train", BOB, run=busy.id)
        assert f"belongs to {ADA}" in said(at) and "Cancel" not in labels(at)
        assert "Cancel" in labels(app("train", ADA, run=busy.id))
        monkeypatch.setenv(VISIBLE, "own")
        assert "Running now: someone else's run." in said(app("train", BOB, run=waiting.id))


def test_related_runs_of_others_are_found_only_where_they_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "reusable_stages", lambda *_: [])
    run = owned(finished_run(), BOB)
    default_store().create(run.params.model_copy(update={"seed": 1, "name": "of Ada"}), ADA)
    assert "of Ada" in said(app("explore", BOB, run=run.id))
    monkeypatch.setenv(VISIBLE, "own")
    at = app("explore", BOB, run=run.id)
    assert not at.exception and "of Ada" not in said(at)
    assert "Run under seeds 1 and 2" in labels(at)


def test_edits_are_shared_and_undone_by_their_author_the_owner_and_admins() -> None:
    run = owned(finished_run(), ADA)
    tile = {"observed_label": "T cell", "predicted_label": "B cell"}
    seeded = {f"compare-matrix-{run.id}-query-observed": {"selection": {"cell": [tile]}}}

    def opened(person: str) -> AppTest:
        at = app("data", person, run=run.id)
        for key, value in seeded.items():
            at.session_state[key] = value
        return at.switch_page("pages/compare.py").run()

    at = press(opened("Bob@lab.example.org"), "Keep this edit")
    assert not at.exception
    (edit,) = read_edits(run)
    assert edit.who == BOB and "Undo" in labels(at)
    add_edit(run, Edit("", "an edit", "exclude", "", "query", "T cell", "B cell", (21,), who=ADA))
    shown = {who: labels(opened(who)).count("Undo") for who in (BOB, "eve@lab.example.org", ADA)}
    assert list(shown.values()) == [1, 0, 2]


def test_terms_that_are_kept_without_a_name_are_the_owners_to_set() -> None:
    run = owned(finished_run(), ADA)
    for person, may in ((BOB, False), (ADA, True)):
        at = app("compare", person, run=run.id)
        assert not at.exception
        assert ("Set this term" in labels(at)) is may
        assert (f"belongs to {ADA}" in said(at)) is not may


def test_a_visibility_that_cannot_be_is_said_on_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "mine")
    run = owned(finished_run(), ADA)
    at = app("data", BOB, run=run.id)
    assert not at.exception
    assert f"{VISIBLE} is 'mine': set it to all or own, or leave it out" in said(at)
    assert not at.title


@pytest.mark.parametrize(
    ("access", "person", "enters"),
    [
        ({"emails": [BOB], "admins": [ROOT_ADMIN]}, ROOT_ADMIN, True),
        ({"emails": [BOB], "admins": [ROOT_ADMIN]}, ADA, False),
        ({"admins": [ROOT_ADMIN]}, ADA, True),
        ({"emails": []}, ADA, False),
        ({"domains": ["lab.example.org"]}, "lab.example.org", False),
        ({"emails": [""]}, "", False),
    ],
)
def test_admins_enter_and_naming_them_alone_shuts_no_one_out(
    access: dict[str, list[str]], person: str, enters: bool
) -> None:
    at = AppTest.from_string("from pages.door.sign_in import require_sign_in\nrequire_sign_in()")
    at.secrets["auth"] = AUTH
    at.secrets["access"] = access
    at.user = {"is_logged_in": True, "email": person, "email_verified": True}
    assert bool(at.run().error) is not enters
