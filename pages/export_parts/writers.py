"""Files of a run that take long to write: made by a separate process, kept with the run, then offered."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.processes import start_module
from labeltransfer.runs.records.edits import edits_file
from labeltransfer.runs.records.run import Run
from labeltransfer.storage.records import read_tail
from pages.door.sign_in import fragment
from pages.shared.words import duration, plain, size

SUPPLEMENT = Path("exports") / "everything.zip"
"""Where a run keeps everything as one zip, below its own folder."""
MOST_SAID = 1000
"""Characters of a log's last line that a page shows."""


@st.cache_resource
def writers() -> dict[str, tuple[subprocess.Popen, float]]:
    """Processes of this app that write a file, with their starts, by the file's path."""
    return {}


def show_written(run: Run, command: str, place: Path, file_name: str, *, label: str) -> None:
    """Offer a file of a run, or what its making is at, or the button that starts it.

    Parameters
    ----------
    run
        A finished run.
    command
        Command of ``python -m labeltransfer`` that takes the run's id and ``--out``.
    place
        Where the file goes, below the run's folder.
    file_name
        Its name for the person who downloads it.
    label
        What the button says.
    """
    target = run.folder / place
    process, started = writers().get(str(target), (None, 0.0))
    if process is not None and process.poll() is None:
        watch_writer(target, started)
        return
    if process is not None:
        writers().pop(str(target))
        if process.returncode:
            log = read_tail(target.with_suffix(".log")).strip().splitlines()
            said = log[-1][-MOST_SAID:] if log else "the process was stopped"
            st.error(f"The file could not be written: {plain(said)}")
    if target.exists():
        offer_file(target, file_name)
        stale = edited_since(run, target)
        if stale:
            st.caption("It was written before the last change of edits, and does not include it.")
        again = stale or command == "supplement"
        if again and st.button("Make it again", key=f"again-{place.name}", type="tertiary"):
            start_writer(run, command, target)
            st.rerun()
        return
    if st.button(label, icon=":material/deployed_code:", key=f"write-{place.name}"):
        start_writer(run, command, target)
        st.rerun()


def edited_since(run: Run, path: Path) -> bool:
    """Whether the run's edits have changed since a file was written."""
    own = edits_file(run)
    return own.exists() and own.stat().st_mtime_ns > path.stat().st_mtime_ns


@fragment(run_every=2.0)
def watch_writer(target: Path, started: float) -> None:
    """How long a file has been in the making; ends itself when it is there."""
    process, _ = writers().get(str(target), (None, 0.0))
    if process is None or process.poll() is not None:
        st.rerun()
    st.info(
        f"Writing the file for {duration(time.time() - started)} now. Leaving is safe: it goes on, and is kept.",
        icon=":material/hourglass_top:",
    )


def start_writer(run: Run, command: str, target: Path) -> None:
    """Start the process that writes a file.

    Raises
    ------
    RunError
        The folder does not take the file.
    """
    try:
        target.parent.mkdir(exist_ok=True)
        log = target.with_suffix(".log")
        log.unlink(missing_ok=True)  # what an earlier try said
        process = start_module("labeltransfer", command, run.id, "--out", str(target), log=log)
    except OSError as error:
        raise RunError(f"{target} cannot be written ({error.strerror}): free some space.") from error
    writers()[str(target)] = (process, time.time())


def offer_file(path: Path, file_name: str) -> None:
    """Download of a file that lies ready."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"Download {size(path.stat().st_size)}",
            lambda: path.open("rb"),
            file_name=file_name,
            mime="application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            key=f"export-{path.name}",
        )
        st.caption(f"On this server: `{path}`")


def offer(label: str, make: Callable[[], str | bytes], file_name: str) -> None:
    """Download that is made at the click."""
    st.download_button(
        label, make, file_name=file_name, icon=":material/download:", on_click="ignore", key=f"export-{label}"
    )
