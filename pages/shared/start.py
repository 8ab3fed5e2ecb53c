"""Start a run and ask before one is cancelled or deleted."""

from pathlib import Path
from typing import NoReturn

import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.runs.queue.liveness import cancel
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store, default_store
from labeltransfer.runs.space import quotas
from labeltransfer.runs.space.cleaning import delete_run, run_touched
from labeltransfer.runs.start import executors
from labeltransfer.runs.start.admission import admit, check_run
from pages.door.sign_in import visitor
from pages.shared.frame import catching, open_run
from pages.shared.visible_runs import require_change
from pages.shared.words import plain, run_title


def start_button(label: str, *, key: str | None = None, primary: bool = True, n_runs: int = 1) -> bool:
    """A button that starts runs; where the visitor may start no more, it is off, with the reason next to it."""
    reason = ""
    with catching():
        reason = _refusal(default_store().root, quotas.quotas(), visitor().name, n_runs)
    pressed = st.button(
        label,
        type="primary" if primary else "secondary",
        icon=":material/play_arrow:",
        key=key,
        disabled=bool(reason),
    )
    if reason:
        st.caption(plain(reason))
    return pressed


@st.cache_data(ttl=3.0, max_entries=256, show_spinner=False)
def _refusal(root: Path, limits: quotas.Quotas, owner: str, n_runs: int) -> str:
    """Why a person may start no more runs under these limits, at most three seconds old; empty where they may."""
    try:
        check_run(Store(root), owner, n_wanted=n_runs)
    except RunError as error:
        return str(error)
    return ""


def queue_run(params: RunParams) -> Run:
    """Queue a run of the visitor and start its worker, and keep open what is; raises RunError."""
    run = admit(default_store(), params, visitor().name)
    executors.start(run)
    return run


def start_run(params: RunParams) -> NoReturn:
    """Queue a run, start its worker, open it and show the page again; raises RunError."""
    open_run(queue_run(params).id)
    st.rerun()


@st.dialog("Cancel this run?", icon=":material/block:")
def confirm_cancel(run: Run) -> None:
    """Ask, then ask the worker to stop."""
    st.write(
        f"**{run_title(run)}** stops within a batch or two; if it hangs, its worker is ended after 20 seconds. "
        "Finished stages are kept; the running one is lost."
    )
    with st.container(horizontal=True):
        if st.button("Cancel the run", type="primary"):
            with catching():
                require_change(run)
                cancel(run, by=visitor().name)
                st.rerun()
        if st.button("Let it run"):
            st.rerun()


def confirm_delete(runs: list[Run]) -> None:
    """Ask, then delete finished runs with what only they use; those that are changed meanwhile stay."""
    _ask_and_delete(runs, {run.id: run_touched(run) for run in runs})


@st.dialog("Delete runs?", icon=":material/delete:")
def _ask_and_delete(runs: list[Run], touched: dict[str, float]) -> None:
    """Ask about runs, which were last changed at the times ``touched``, and delete them."""
    names = ", ".join(f"**{run_title(run)}**" for run in runs)
    st.write(f"{names}: settings, models, predictions and logs that no other run uses are deleted for everyone.")
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary"):
            n_deleted = 0
            for run in runs:
                with catching():
                    delete_run(default_store(), run, person=visitor(), touched=touched[run.id])
                    n_deleted += 1
                    if st.session_state.get("run") == run.id:
                        open_run("")
            if n_deleted == len(runs):
                st.rerun()
        if st.button("Keep"):
            st.rerun()
