"""What people did: noted where it is done, read again whatever became of the file."""

import json
import os
from pathlib import Path

import pytest

from labeltransfer.config import variable
from labeltransfer.runs.records import activity
from labeltransfer.runs.records.activity import Act, note, read_activity

ADA = "ada@lab.example.org"


def written(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / activity.FILE).read_text().splitlines()]


def test_what_was_done_is_read_again(tmp_path: Path) -> None:
    note(tmp_path, "signed in", ADA)
    note(tmp_path, "deleted", "", thing="run", id="20260101-000000-000000abcd", name="Marrow")
    last, first = read_activity(tmp_path).acts
    assert (first.who, first.kind, first.thing) == (ADA, "signed in", "")
    assert (last.who, last.kind, last.thing, last.id, last.name) == (
        *("", "deleted", "run", "20260101-000000-000000abcd", "Marrow"),
    )
    assert 0 <= last.time - first.time < 600


def test_a_server_that_wants_none_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("activity"), "Off")
    note(tmp_path, "signed in", ADA)
    assert list(tmp_path.iterdir()) == []


def test_an_act_goes_on_where_it_cannot_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(tmp_path / "gone", "signed in", ADA)
    (tmp_path / activity.FILE).mkdir()
    note(tmp_path, "signed in", ADA)
    monkeypatch.setenv(variable("activity"), "perhaps")
    note(tmp_path, "signed in", ADA)
    assert read_activity(tmp_path).acts == []


def test_any_name_fits_on_a_line(tmp_path: Path) -> None:
    name = "x\n" * 5_000 + "\ud800"
    note(tmp_path, "started", "a\ud800b", thing="run", id="1", name=name)
    (line,) = written(tmp_path)
    assert line["who"] == "a?b" and len(str(line["name"])) <= 100
    assert read_activity(tmp_path).acts[0].who == "a?b"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"time": "now", "who": "", "kind": "started"},
        {"time": float("nan"), "who": "", "kind": "started"},
        {"time": 1e300, "who": "", "kind": "started"},
        {"time": 1, "who": None, "kind": "started"},
        {"time": 1, "who": "", "kind": "sang"},
        {"time": 1, "who": "", "kind": []},
        {"time": 1, "who": "", "kind": "started", "thing": "house"},
        {"time": 1, "who": "", "kind": "started", "more": 1},
    ],
)
def test_a_line_that_is_no_act_is_counted_and_left_out(tmp_path: Path, entry: dict[str, object]) -> None:
    note(tmp_path, "signed in", ADA)
    with (tmp_path / activity.FILE).open("a") as file:
        file.write(json.dumps(entry) + "\nno JSON\n")
    found = read_activity(tmp_path)
    assert [act.kind for act in found.acts] == ["signed in"] and found.n_unreadable == 2


def test_text_of_a_damaged_file_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / activity.FILE).write_text(r'{"time": 1, "who": "\ud800", "kind": "started"}')
    assert read_activity(tmp_path).acts == [Act(1, "?", "started")]


def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path: Path) -> None:
    note(tmp_path, "signed in", ADA)
    os.replace(tmp_path / activity.FILE, tmp_path / "elsewhere")
    (tmp_path / activity.FILE).mkdir()
    assert read_activity(tmp_path).acts == []
