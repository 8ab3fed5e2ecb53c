"""Checks of what the home holds: runs, results, references, and what broken work has left."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.health.finding import Finding, at_most
from labeltransfer.runs.library.library import NAME, Library
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.damage import damage
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import removal
from labeltransfer.runs.space.cleaning import RESTS
from labeltransfer.runs.space.disk import bytes_of, entries, last_touched
from labeltransfer.storage.digests import file_digest
from labeltransfer.storage.records import is_there, printable
from labeltransfer.storage.uploads import INCOMING
from labeltransfer.units import counted, shorten, size

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
"""Name of what a process that was killed meant to put in the place of another file."""

DELETE = "Delete it on the Runs page, or start a run with the same settings: finished stages are kept."


def runs(root: Path) -> Iterator[Finding]:
    """Runs that are damaged, by name."""
    folders = [path for path in entries(root / "runs") if is_there(path / "params.json") or _holds_run(path)]
    found = [
        Finding("Run", "to do", f"{printable(path.name)}: {', '.join(faults[:3])}.", DELETE)
        for path in folders
        if (faults := list(_faults(Run(path))))
    ]
    yield from at_most(found)
    yield Finding("Runs", "well", f"{len(folders) - len(found):,} of {counted(len(folders), 'run')} are whole.")


def _faults(run: Run) -> Iterator[str]:
    """What is wrong with a run, in words."""
    if not os.access(run.folder, os.R_OK | os.W_OK | os.X_OK):
        yield "its folder may not be used by this user"
        return
    if not is_there(run.folder / "params.json"):
        yield "params.json is gone"
    damaged = damage(run)
    yield from (f"{name} ({why})" for name, why in damaged.items())
    if "stages.json" not in damaged and observed_status(run).state == "done":
        gone = [name for name in sorted(run.artefact_names()) if not (run.root / "stages" / name).is_dir()]
        if gone:
            yield f"its results {shorten(gone, 3)} are gone"


def stages(root: Path, *, thorough: bool) -> Iterator[Finding]:
    """Results whose files are not as they were, by size alone or by their checksums."""
    folders = [path for path in entries(root / "stages") if not path.name.startswith(".")]
    damaged = {path: names for path in folders if (names := checksums.damaged_files(path, quick=not thorough))}
    way_out = "Start a run that uses it again: it makes this part anew, for every run that uses it."
    yield from at_most(
        Finding("Result", "to do", f"{path.name}: {shorten(names, 3)} cut, changed or gone.", way_out)
        for path, names in damaged.items()
    )
    how = "checksums" if thorough else "sizes; --thorough compares checksums"
    whole = len(folders) - len(damaged)
    yield Finding("Results", "well", f"{whole:,} of {counted(len(folders), 'result')} are whole (by {how}).")


def references(root: Path, *, thorough: bool) -> Iterator[Finding]:
    """Published references that cannot be used."""
    library = Library(root)
    names = [path.name for path in entries(library.folder) if NAME.fullmatch(path.name)]
    wrong = {name: why for name in names if (why := _wrong_reference(library, name, thorough=thorough))}
    way_out = "Publish it again from its run, or delete it on References."
    yield from at_most(Finding("Reference", "to do", f"{name}: {why}.", way_out) for name, why in wrong.items())
    yield Finding("References", "well", f"{len(names) - len(wrong)} of {counted(len(names), 'reference')} are whole.")


def _wrong_reference(library: Library, name: str, *, thorough: bool) -> str:
    try:
        kept = library.card(name).checksums
    except LabelTransferError as error:
        return str(error).removesuffix(".")
    folder = library.folder / name
    for file, digest in kept.items():
        path = folder / file
        if not path.is_file() or (thorough and file_digest(path) != digest):
            return f"{file} is not what was published"
    return ""


def leftovers(root: Path) -> Iterator[Finding]:
    """What broken work has left and nobody has touched for a day."""
    now = time.time()
    store = Store(root)
    begun = [path for path in entries(root / "runs") if not is_there(path / "params.json")]
    kinds: dict[str, tuple[list[Path], str]] = {
        "uploads that no page took": (entries(root / "uploads" / INCOMING), ""),
        "runs that were never whole": ([path for path in begun if not _holds_run(path)], "runs"),
        "files that were never put in place": (list(_temporary(root)), ""),
        "half-built results": ([path for path in store.garbage() if path.name.startswith(".")], "stages"),
        "half-removed runs, results and uploads": (entries(removal.folder(root)), ""),
        "half-published references": (
            [path for path in entries(root / "references") if "~" in path.name],
            "references",
        ),
    }
    n_all = 0
    for what, (paths, lock) in kinds.items():
        old = [path for path in paths if now - last_touched(path) > RESTS]
        n_all += len(old)
        if old:
            about = f"{len(old):,} {what}, {size(sum(map(bytes_of, old)))}."
            yield Finding("Leftovers", "to do", about, "--fix removes them.", _remover(store, what, old, lock))
    if not n_all:
        yield Finding("Leftovers", "well", "None that are older than a day.")


def _holds_run(folder: Path) -> bool:
    """Whether a folder without settings holds more of a run than its begin: then it is damaged, not left over."""
    return any((folder / name).exists() for name in ("stages.json", "events.jsonl", "worker.lock"))


def _temporary(root: Path) -> Iterator[Path]:
    """Files of the app's own that were being written when their writer was killed."""
    for folder in (root, root / "drafts", *entries(root / "runs"), *entries(root / "uploads")):
        for path in entries(folder) if not folder.name.startswith(".") else []:
            if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield path


def _remover(store: Store, what: str, paths: list[Path], lock: str) -> Callable[[], str]:
    """What removes leftovers, each only if nobody has touched it meanwhile."""

    def remove() -> str:
        if lock:
            with store.lock(lock).acquire(timeout=30):
                return _remove(what, paths)
        return _remove(what, paths)

    return remove


def _remove(what: str, paths: list[Path]) -> str:
    gone = 0
    for path in paths:
        if time.time() - last_touched(path) > RESTS and not is_there(path / "params.json"):
            n_bytes = bytes_of(path)
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            gone += n_bytes
    return f"{len(paths):,} {what} were removed; {size(gone)} are free again."
