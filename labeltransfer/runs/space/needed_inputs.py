"""Which uploads and downloads are needed: named in the settings of a run, or chosen for the next one.

An input is an entry of ``uploads``, one folder a content, or of ``downloads``.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from labeltransfer.errors import DamagedError, LabelTransferError
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import disk
from labeltransfer.storage import uploads
from labeltransfer.storage.records import read_json_content


def named_in(store: Store, settings: Any) -> Iterator[Path]:
    """Entries of ``uploads`` and ``downloads`` that hold a file which settings, as plain data, name."""
    folders = [(store.root / name, (store.root / name).resolve()) for name in ("uploads", "downloads")]
    for text in _texts(settings):
        for folder, place in folders if os.path.isabs(text) else ():
            path = Path(os.path.realpath(text.replace("\0", "")))  # whatever a file of settings holds
            if path != place and path.is_relative_to(place):
                yield folder / path.relative_to(place).parts[0]


def inputs_of_runs(store: Store, runs: Iterable[Run]) -> dict[str, set[Path]] | None:
    """Uploads and downloads that each run reads, by its id; None where those of some run are unknown."""
    try:
        return {run.id: set(named_in(store, run.params.model_dump(mode="json"))) for run in runs}
    except LabelTransferError:
        return None


def composed_inputs(store: Store) -> dict[Path, float]:
    """Inputs that people have chosen for their next run, and when that was last changed."""
    found: dict[Path, float] = {}
    for file in (store.root / "drafts").glob("*.json"):
        with suppress(OSError, DamagedError):  # whatever was done to the file
            for path in named_in(store, read_json_content(file)):
                found[path] = max(found.get(path, 0.0), file.stat().st_mtime)
    return found


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data: whichever setting names a file, the file is needed."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def file_name(path: Path) -> str:
    """Name under which an input was sent or fetched."""
    names = [entry.name for entry in disk.entries(path) if entry.name != uploads.OWNERS]
    return names[0] if names else path.name
