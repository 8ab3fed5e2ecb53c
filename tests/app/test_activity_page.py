"""The page for admins: whether the server is well, and who did what."""

import datetime as dt
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeltransfer.config import variable
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.runs.records import activity
from labeltransfer.runs.records.activity import Act, note
from labeltransfer.runs.records.sign_ins import WAS_ON
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.home import home
from pages.activity_parts.history import csv_table, moment, shown_table
from tests.support import ROOT
from tests.support.pages import AUTH, said

ADA, ADMIN = "ada@lab.example.org", "root@lab.example.org"

pytestmark = pytest.mark.usefixtures("no_caches")


def app(person: str = "") -> AppTest:
    """The page as a person sees it; no one signs in where the person is empty."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if person:
        at.secrets["auth"] = AUTH
        at.secrets["access"] = {"domains": ["lab.example.org"], "admins": [ADMIN]}
        at.user = {"is_logged_in": True, "email": person, "email_verified": True, "iat": 1}
    else:
        (home() / WAS_ON).unlink(missing_ok=True)
    at.run()
    return at.switch_page("pages/activity.py").run()


def shown(at: AppTest) -> list[tuple[str, str, str]]:
    """Who, what they did and to what, row by row."""
    return [(row.Who, row.Did, row.What) for row in at.dataframe[0].value.itertuples()]


def test_who_is_no_admin_reads_nothing_of_others(store: Store) -> None:
    note(store.root, "deleted", ADMIN, thing="run", id="1", name="secret name")
    at = app(ADA)
    assert not at.exception and not at.dataframe and not at.metric
    assert "Only an admin" in said(at) and "secret name" not in said(at)


def test_an_admin_reads_who_did_what_the_newest_first(store: Store) -> None:
    note(store.root, "signed in", ADA)
    note(store.root, "published", "", thing="reference", name="marrow")
    note(store.root, "deleted", ADMIN, thing="run", id="20260101-000000-000000abcd")
    at = app(ADMIN)
    assert not at.exception
    assert shown(at) == [
        (ADMIN, "deleted", "run 20260101-000000-000000abcd"),
        ("not signed in", "published", "reference marrow"),
        (ADA, "signed in", ""),
    ]
    assert all(when.startswith(("today ", "yesterday ")) for when in at.dataframe[0].value["When"])
    assert "3 of 3" in said(at) and "Download as CSV" in [button.label for button in at.get("download_button")]


def test_the_list_is_filtered_by_person_kind_and_day(store: Store) -> None:
    note(store.root, "signed in", ADA)
    note(store.root, "started", ADA, thing="run", id="1")
    note(store.root, "started", "", thing="run", id="2")
    at = app()
    at.selectbox(key="activity-who").set_value(ADA)
    assert len(shown(at.run())) == 2
    at.selectbox(key="activity-kind").set_value("started")
    assert shown(at.run()) == [(ADA, "started", "run 1")]
    at.selectbox(key="activity-who").set_value("")
    assert shown(at.run()) == [("not signed in", "started", "run 2")]
    at.date_input(key="activity-day").set_value(dt.date(2020, 1, 1))
    at.run()
    assert not at.dataframe and "None of 3 lines fits" in said(at)


def test_without_any_line_the_page_says_what_will_be_there(store: Store) -> None:
    at = app()
    assert not at.exception and not at.dataframe
    assert "Nothing is listed yet" in said(at)


def test_lines_that_cannot_be_read_are_counted(store: Store) -> None:
    note(store.root, "signed in", ADA)
    with (store.root / activity.FILE).open("a") as file:
        file.write("damaged\n")
    at = app()
    assert len(shown(at)) == 1 and "1 line of the file" in said(at)


def test_a_server_that_keeps_no_list_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("activity"), "off")
    at = app()
    assert not at.exception and "LABELTRANSFER_ACTIVITY is off" in said(at)


def test_no_name_is_a_formula_in_the_csv() -> None:
    text = to_csv(csv_table([Act(0.0, "=cmd()", "deleted", "run", "1", "+1")]))
    assert text.splitlines()[0] == "time,person,did,thing,id,name"
    assert text.splitlines()[1].split(",")[1:] == ["'=cmd()", "deleted", "run", "1", "'+1"]


def test_names_are_shown_as_they_are() -> None:
    assert shown_table([Act(0.0, "<b>**a**", "started", "run", "1", "")], 1.0)["Who"][0] == "<b>**a**"


def test_a_time_is_said_in_words() -> None:
    now = dt.datetime(2026, 3, 1, 12, 0)
    then = {
        "today 09:05": dt.datetime(2026, 3, 1, 9, 5),
        "yesterday 23:59": dt.datetime(2026, 2, 28, 23, 59),
        "27 February 10:00": dt.datetime(2026, 2, 27, 10, 0),
        "1 March 2025 12:00": dt.datetime(2025, 3, 1, 12, 0),
        "2 March 01:00": dt.datetime(2026, 3, 2, 1, 0),
    }
    assert {moment(t.timestamp(), now.timestamp()): t for t in then.values()} == then


def test_the_page_says_what_is_wrong_with_the_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "All is well" in said(app())
    monkeypatch.setattr("labeltransfer.runs.health.health.no_room", lambda folder: f"The disk of {folder} is full.")
    at = app()
    assert "is full" in said(at) and "All is well" not in said(at)


def test_the_runs_page_leads_admins_there(store: Store) -> None:
    note(store.root, "signed in", ADA)
    for person, n_links in ((ADMIN, 1), (ADA, 0)):
        at = app(person).switch_page("pages/runs.py").run()
        links = [link for link in at.get("page_link") if link.proto.label == "Activity and health"]
        assert not at.exception and len(links) == n_links


def test_the_address_of_the_page_leads_to_it(lt_home: Path) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["page"] = "activity"
    at.run()
    assert not at.exception and "Health" in said(at)
