"""Quotas, keeping and cleaning as a visitor sees them."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start import executors
from pages.runs_parts import runs_table
from tests.support import ROOT

DAY = 86400.0
PARAMS = run_params({side: {"path": f"{side}.h5ad"} for side in ("reference", "query")})


@pytest.fixture(autouse=True)
def no_cache(lt_home: Path) -> Iterator[None]:
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def app(page: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    return at if page == "data" else at.switch_page(f"pages/{page}.py").run()


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label.startswith(label)).click()
    return at.run()


def said(at: AppTest) -> str:
    return (
        "\n".join(str(e.value) for e in [*at.markdown, *at.caption, *at.error]).replace("\\", "").replace("\u2060", "")
    )


def ended(days: float, name: str = "") -> Run:
    run = default_store().create(PARAMS.model_copy(update={"name": name}))
    run.write_status(Status(state="done", created=time.time() - days * DAY, finished=time.time() - days * DAY))
    return run


def form() -> AppTest:
    """What the dialog shows, without it: AppTest closes a dialog at the next click."""

    def script() -> None:
        from pages.runs_parts.disk_space import cleaning_form

        cleaning_form()

    return AppTest.from_function(script, default_timeout=60).run()


def test_the_dialog_opens_on_the_runs_page(lt_home: Path) -> None:
    ended(100, "old one")
    at = press(app("runs"), "Clean up")
    assert not at.exception and list(at.dataframe[-1].value["Name"]) == ["old one"]


def test_cleaning_shows_what_goes_before_it_does(lt_home: Path) -> None:
    old, new = ended(100, "old one"), ended(10, "new one")
    at = form()
    assert not at.exception
    assert list(at.dataframe[0].value["Name"]) == ["old one"] and old.folder.exists()
    assert "1 run and 0 other things" in said(at)
    late = ended(200)  # was not shown, so it does not go
    at = press(at, "Remove for good, frees")
    assert not at.exception
    assert not old.folder.exists() and new.folder.exists() and late.folder.exists()


def test_what_changed_since_it_was_listed_stays_and_the_runs_page_says_so(lt_home: Path) -> None:
    def script() -> None:
        from pages.runs_parts.disk_space import cleaning_form, space

        space()
        cleaning_form()

    old, kept = ended(100, "old one"), ended(101, "kept *one*")
    at = AppTest.from_function(script, default_timeout=60).run()
    kept.keep(True)
    at = press(at, "Remove for good, frees")
    assert not at.exception
    assert not old.folder.exists() and kept.folder.exists()
    assert at.success[0].value.startswith("Removed 1 thing; ")
    assert "kept \\*one\\*: it is marked to be kept." in at.info[0].value
    assert not at.run().info  # said once


def test_runs_are_deleted_unless_they_changed_since_the_question(
    lt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script() -> None:
        from labeltransfer.runs.records.store import default_store
        from pages.shared.start import _ask_and_delete

        runs = default_store().runs()
        _ask_and_delete(runs, {run.id: 2e9 if run.params.name == "same" else 1.0 for run in runs})

    same, changed = ended(1, "same"), ended(1, "changed")
    at = press(AppTest.from_function(script, default_timeout=60).run(), "Delete for good")
    assert "was changed after you were asked" in said(at)
    assert not same.folder.exists() and changed.folder.exists()


def test_an_old_draft_that_is_taken_up_again_is_not_deleted(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.shared import draft

    folder = default_store().root / "drafts"
    folder.mkdir()
    names = ["a" * 16, "b" * 16]
    for name in names:
        (folder / f"{name}.json").write_text("{}")
        os.utime(folder / f"{name}.json", (time.time() - 90 * DAY,) * 2)
    forget = draft._forget_old
    taken_up = threading.Thread(target=draft.Draft(id=names[0]).save)

    def forget_slowly(where: Path) -> None:
        taken_up.start()  # waits until the old ones are gone, and is then written anew
        taken_up.join(0.2)
        forget(where)

    monkeypatch.setattr(draft, "_forget_old", forget_slowly)
    draft.Draft().save()
    taken_up.join()
    assert (folder / f"{names[0]}.json").exists() and not (folder / f"{names[1]}.json").exists()


def test_a_younger_age_shows_more(lt_home: Path) -> None:
    for days in (100, 10):
        ended(days)
    at = form()
    at.number_input[0].set_value(5)
    assert len(at.run().dataframe[0].value) == 2


def test_who_is_no_admin_cleans_their_own(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(100)
    monkeypatch.setattr("pages.runs_parts.disk_space.visitor", lambda: Person("ada", admin=False))
    at = form()
    assert "nothing to clean" in said(at)
    assert [number.label for number in at.number_input] == ["Older than, days"]


def test_a_kept_run_says_so_and_stays(lt_home: Path) -> None:
    run = ended(100)
    run.keep(True)
    at = app("runs")
    assert any("(kept)" in name for name in at.dataframe[0].value["Name"])
    assert "nothing to clean" in said(press(at, "Clean up"))


def test_the_row_of_a_past_run_follows_its_files(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [ended(day, f"run {day}") for day in (3, 2, 1)]
    read: list[str] = []
    whole = runs_table._present_row
    monkeypatch.setattr(runs_table, "_present_row", lambda run, place: read.append(run.id) or whole(run, place))

    def names() -> list[str]:
        read.clear()
        listed = [Run(run.folder) for run in runs]
        return list(runs_table.runs_table(listed, {}, owners=False)["Name"])

    assert names() == ["run 3", "run 2", "run 1"] and len(read) == 3
    assert names() == ["run 3", "run 2", "run 1"] and read == []
    runs[0].keep(True)
    changed = runs[1].folder / "params.json"
    changed.write_text(changed.read_text().replace("run 2", "RUN 2"))  # in its place, as only a person would
    runs[2].write_status(Status(state="running", created=time.time()))
    assert names() == ["run 3 (kept)", "RUN 2", "run 1"] and len(read) == 3
    names()
    assert read == [runs[2].id]  # what is not over may change without any of its files


def test_of_many_runs_the_newest_are_listed_and_all_when_asked_for(
    lt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_table, "SHOWN", 3)
    waits = default_store().create(PARAMS.model_copy(update={"name": "waits"}))
    for number in range(4):
        ended(1, f"run {number}")
    at = app("runs")
    assert [name.partition(" (")[0] for name in at.dataframe[0].value["Name"]][1:] == ["run 3", "run 2", "waits"]
    (toggle,) = at.toggle
    assert toggle.label == "Show all 6 runs"
    at = toggle.set_value(True).run()
    assert len(at.dataframe[0].value) == 6
    waits.write_status(Status(state="done", created=time.time()))
    assert "waits" not in list(app("runs").dataframe[0].value["Name"])


def test_the_runs_page_says_how_much_is_taken_of_what(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_DISK_PER_PERSON", "3GB")
    monkeypatch.setenv("LABELTRANSFER_DISK_IN_ALL", "2TB")
    ended(1)
    text = said(app("runs"))
    assert "of 2 TB in" in text and "of 3 GB" in text


def test_no_one_clicks_on_start_in_vain(
    lt_home: Path, small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Run] = []
    monkeypatch.setattr(executors, "start", started.append)
    monkeypatch.setenv("LABELTRANSFER_RUNS_PER_PERSON", "1")
    monkeypatch.setattr("labeltransfer.data.demo.simulate.ensure_demo", lambda: small_params)
    at = press(app("data"), "Start with the demo data")
    at.switch_page("pages/train.py").run()
    assert next(b for b in at.button if b.label == "Start training").disabled is False
    default_store().create(PARAMS)  # another person's; with sign-in off all are one person
    st.cache_data.clear()
    at.run()
    assert next(b for b in at.button if b.label == "Start training").disabled is True
    assert "all together may have 1 at a time" in said(at) and not started


def test_a_limit_that_cannot_be_read_is_said_on_every_page(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_DISK_PER_PERSON", "lots")
    for page in ("data", "train"):
        at = app(page)
        assert not at.exception and "LABELTRANSFER_DISK_PER_PERSON is 'lots'" in said(at) and not at.button


def test_an_upload_that_streamlit_holds_itself_is_kept_as_well(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.data_parts.choose_file.probe", lambda path: None)  # a process of its own takes seconds
    at = app("data")
    next(c for c in at.segmented_control if c.label == "Source").set_value("upload")
    at.run()
    at.file_uploader[0].upload("cells.h5ad", b"no h5ad at all", "application/x-hdf5")
    at.run()
    assert not at.exception
    assert [p.read_bytes() for p in (lt_home / "uploads").rglob("*.h5ad")] == [b"no h5ad at all"]
    assert "cells.h5ad" in said(at)
