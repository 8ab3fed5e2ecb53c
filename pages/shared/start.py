"""Start a run and ask before one is cancelled or deleted."""

from typing import NoReturn

import streamlit as st

from labeltransfer.params import RunParams
from labeltransfer.runs import executors
from labeltransfer.runs.run import Run
from labeltransfer.runs.store import default_store
from pages.shared.frame import catching, open_run
from pages.shared.people import require_change
from pages.shared.sign_in import visitor
from pages.shared.words import run_title


def queue_run(params: RunParams) -> Run:
    """Queue a run of the visitor and start its worker, and keep open what is; raises RunError."""
    run = default_store().create(params, visitor().name)
    executors.start(run)
    return run


def start_run(params: RunParams) -> NoReturn:
    """Queue a run, start its worker, open it and show the page anew; raises RunError."""
    open_run(queue_run(params).id)
    st.rerun()


@st.dialog("Cancel this run?", icon=":material/block:")
def confirm_cancel(run: Run) -> None:
    """Ask, then ask the worker to stop."""
    st.write(f"**{run_title(run)}** stops within a batch or two. Finished stages are kept; the one at work is lost.")
    with st.container(horizontal=True):
        if st.button("Cancel the run", type="primary"):
            with catching():
                require_change(run)
                run.request_cancel()
                st.rerun()
        if st.button("Let it run"):
            st.rerun()


@st.dialog("Delete runs?", icon=":material/delete:")
def confirm_delete(runs: list[Run]) -> None:
    """Ask, then delete finished runs with what only they use."""
    names = ", ".join(f"**{run_title(run)}**" for run in runs)
    st.write(f"{names}: settings, models, predictions and logs that no other run uses are deleted for everybody.")
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary"):
            with catching():
                for run in runs:
                    require_change(run)
                    default_store().delete(run)
                    if st.session_state.get("run") == run.id:
                        open_run("")
                st.rerun()
        if st.button("Keep"):
            st.rerun()
