"""What can become of a file of a run: cut, edited by hand, replaced by something else, another user's."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from labeltransfer.runs.records.run import Run

DEEP = b"[" * 200_000
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"a": {"b"',
    "null": b"null",
    "a list": b"[1, 2]",
    "a number": b"1e999",
    "nan": b'{"created": NaN, "state": "done", "prepare": NaN, "reference": NaN}',
    "no utf-8": b'{"state": "\xff\xfe"}',
    "half a character": b'{"state": "\\ud800", "prepare": "\\ud800", "name": "\\ud800"}',
    "deep": DEEP,
    "nulls": b"\0" * 4096,
}
"""Content of a file that should hold a JSON object."""


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent / "nowhere")


def _loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


SHAPES: dict[str, Callable[[Path], None]] = {"a folder": _folder, "a link to nothing": _link, "a loop": _loop}
if hasattr(os, "mkfifo"):
    SHAPES["a pipe"] = _pipe


def _with(**values: object) -> Callable[[Path], None]:
    """Change fields of a file of JSON; None takes one out."""

    def change(path: Path) -> None:
        found = json.loads(path.read_text()) | values
        path.write_text(json.dumps({name: value for name, value in found.items() if value != "gone"}))

    return change


def _written(content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_bytes(content)

    return change


def damages() -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Name of each damage, the file of a run that it is done to, and how."""
    for file in ("params.json", "status.json", "stages.json"):
        for about, content in CONTENTS.items():
            yield f"{file} {about}", file, _written(content)
        for about, shape in SHAPES.items():
            yield f"{file} {about}", file, shape
    fields: dict[str, dict[str, object]] = {
        "no time": {"created": "gone"},
        "null for its time": {"created": None},
        "a time beyond all calendars": {"created": 1e300},
        "a time before all": {"started": -1e12},
        "no such state": {"state": "sleeping"},
        "no numbers": {"epoch": "many", "n_epochs": []},
        "no words": {"message": {"a": 1}},
    }
    for about, values in fields.items():
        yield f"status.json {about}", "status.json", _with(**values)
    yield "stages.json that leads elsewhere", "stages.json", _written(b'{"../../etc": "passwd"}')
    yield "stages.json of numbers", "stages.json", _written(b'{"prepare": 5}')
    yield "params.json with a name of its own", "params.json", _with(colour="red")
    for file in ("owner.txt", "job.json", "edits.json", "relabelling.json", "terms_by_hand.json"):
        yield f"{file} no utf-8", file, _written(b'{"\xff')
        for about in ("a folder", "a link to nothing"):
            yield f"{file} {about}", file, SHAPES[about]
    yield "owner.txt empty", "owner.txt", _written(b"")
    yield "job.json a number", "job.json", _written(b"[[[")
    yield "edits.json null", "edits.json", _written(b"null")
    yield "edits.json deep", "edits.json", _written(DEEP)
    yield "relabelling.json null", "relabelling.json", _written(b"null")
    yield "terms_by_hand.json a list", "terms_by_hand.json", _written(b"[1]")
    yield "events.jsonl a folder", "events.jsonl", _folder
    if hasattr(os, "mkfifo"):
        yield "events.jsonl a pipe", "events.jsonl", _pipe


def spoil(run: Run, file: str, how: Callable[[Path], None]) -> None:
    """Damage one file of a run."""
    how(run.folder / file)
