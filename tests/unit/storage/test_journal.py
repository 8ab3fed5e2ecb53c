"""The append-only file: whole lines from many processes at once, moved aside by size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labeltransfer.storage.journal import LONGEST_LINE, MODE, Journal
from tests.support import ROOT

MANY = """
import sys
from pathlib import Path
from labeltransfer.storage.journal import Journal

for n in range(300):
    Journal(Path(sys.argv[1]), most_bytes=4_000, n_old=40).append({"who": sys.argv[2], "n": n})
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "acts.jsonl"


def test_the_newest_line_comes_first(path: Path) -> None:
    for n in range(3):
        Journal(path).append({"n": n})
    assert list(Journal(path).lines()) == [{"n": 2}, {"n": 1}, {"n": 0}]


def test_nobody_else_may_read_a_new_file(path: Path) -> None:
    os.umask(umask := os.umask(0))
    Journal(path).append({})
    assert path.stat().st_mode & 0o007 == 0 and path.stat().st_mode & 0o777 == MODE & ~umask


def test_a_file_that_is_not_there_has_no_lines(path: Path) -> None:
    assert list(Journal(path).lines()) == []


def test_files_are_moved_aside_by_size_and_the_oldest_goes(path: Path) -> None:
    kept = Journal(path, most_bytes=100, n_old=2)
    for n in range(100):
        kept.append({"n": n})
    assert {file.name for file in path.parent.glob("acts*")} <= {file.name for file in kept.files()}
    assert sum(file.stat().st_size for file in kept.files() if file.exists()) < 3 * (100 + LONGEST_LINE)
    numbers = [line["n"] for line in kept.lines() if line]
    assert numbers == list(range(99, 99 - len(numbers), -1))


def test_no_line_of_several_processes_is_lost_or_mixed_while_files_are_moved(path: Path) -> None:
    command = [sys.executable, "-c", MANY, str(path)]
    processes = [subprocess.Popen([*command, who], cwd=ROOT) for who in ("a", "b", "c")]
    while any(process.poll() is None for process in processes):
        assert None not in list(Journal(path, most_bytes=4_000, n_old=40).lines())
    assert [process.returncode for process in processes] == [0, 0, 0]
    found = list(Journal(path, most_bytes=4_000, n_old=40).lines())
    assert None not in found
    assert sorted((line["who"], line["n"]) for line in found if line) == [(w, n) for w in "abc" for n in range(300)]


def test_a_cut_line_spoils_none_after_it(path: Path) -> None:
    Journal(path).append({"n": 0})
    with path.open("ab") as file:
        file.write(b'{"n": ')
    Journal(path).append({"n": 1})
    assert list(Journal(path).lines()) == [{"n": 1}, None, {"n": 0}]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[1]", b"3", b"[" * 3000, b"{" * 3000, b'"' + b"x" * 10_000 + b'"'])
def test_what_is_no_entry_is_said_to_be_none(path: Path, line: bytes) -> None:
    path.write_bytes(line + b'\n\n{"n": 1}\n')
    assert list(Journal(path).lines()) == [{"n": 1}, None]


def test_an_entry_that_is_longer_than_a_line_is_not_written(path: Path) -> None:
    with pytest.raises(ValueError, match="longer than a line"):
        Journal(path).append({"text": "x" * LONGEST_LINE})
    assert not path.exists()


def test_only_the_end_of_a_file_that_grew_on_is_read(path: Path) -> None:
    path.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(5_000)))
    numbers = [line["n"] for line in Journal(path, most_bytes=1_000).lines() if line]
    assert numbers[0] == 4_999 and 500 < len(numbers) < 1_500


def test_a_file_that_cannot_be_moved_aside_is_written_on(path: Path) -> None:
    kept = Journal(path, most_bytes=10, n_old=1)
    (path.parent / "acts.1.jsonl").mkdir()
    for n in range(3):
        kept.append({"n": n})
    assert [line["n"] for line in kept.lines() if line] == [2, 1, 0]


def test_a_file_moved_aside_while_it_is_read_comes_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Journal(path, most_bytes=1_000)
    kept.append({"n": 0})
    lines = kept.lines()
    assert next(lines) == {"n": 0}
    os.replace(path, path.with_name("acts.1.jsonl"))
    assert list(lines) == []
