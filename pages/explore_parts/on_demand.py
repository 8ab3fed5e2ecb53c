"""Tests that need a training each: hide a label and see what becomes of its cells, repeat under other seeds.

Each is a run like any other. Their settings say which runs belong to the open one, see
:mod:`labeltransfer.runs.start.related_runs`. Nothing here refreshes automatically: the page holds maps, which
would be drawn again.
"""

from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer.errors import LabelTransferError
from labeltransfer.params import RunParams
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records import timing
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start import related_runs
from labeltransfer.runs.worker import pipeline
from labeltransfer.runs.worker.stages import STAGES, stage_titles
from pages.explore_parts import on_demand_results
from pages.shared.frame import catching, go, has_stage, open_run
from pages.shared.queue_words import before_next
from pages.shared.start import queue_run, start_button
from pages.shared.trust_view import rejection_rule
from pages.shared.visible_runs import visible_runs
from pages.shared.words import STATE_BADGES, duration, plain, run_title

NO_FILES = (
    "The demo run came without its input files, so nothing can be trained from it. Start a run of your own, from the "
    "demo data too: it can be tested here."
)
WHY_HIDE = (
    "How would a kind of cells show that the reference lacks? Hide one that it has: scANVI and the other classifiers "
    "are trained on the other labels alone, and this page says which of them absorbs the hidden cells and how many are "
    "rejected."
)
WHY_SEEDS = (
    "A seed decides where the trainings start and in which order they see the cells. Labels that change with it are "
    "undecided by the data; the same run under three seeds shows which."
)


def on_demand_section(run: Run, cells: pd.DataFrame) -> None:
    """The last section of Explore."""
    st.subheader(
        "Tests on demand",
        anchor=False,
        help="Each is a separate run that waits in the queue like any other; the Runs page lists, cancels and "
        "deletes it. Leaving this page is safe.",
    )
    if run.id == "demo":
        st.caption(NO_FILES)
        return
    everything = visible_runs()
    hide, stability = st.tabs(["Hide a label", "Stability"])
    with hide, catching():
        hide_section(run, cells, everything)
    with stability, catching():
        stability_section(run, everything)


def hide_section(run: Run, cells: pd.DataFrame, everything: list[Run]) -> None:
    """Choose a label, start the run that hides it, and see what came of it."""
    own = run.params.hidden_label
    if run.params.mapping:
        st.caption(
            "This run was mapped onto a published reference, which was trained on all its labels: none can be hidden."
        )
        return
    if own is not None:
        st.caption(f"This run hides {plain(own)} itself: none of its classifiers was trained on that label.")
        on_demand_results.show_hidden(run, own, rejection_rule(run))
        return
    st.caption(WHY_HIDE)
    counts = cells.loc[cells["side"] == "reference", "observed_label"].value_counts()
    counts = counts[counts > 0].rename(index=str)
    if len(counts) < 3:
        st.caption(f"The reference has {len(counts)} labels. One can be hidden where 2 others are left.")
        return
    hiding = related_runs.hiding_runs(run, everything)
    finished = {label: other for label, other in hiding.items() if is_finished(other)}
    if finished:
        on_demand_results.show_tested(finished)
    label = st.selectbox(
        "Label to hide",
        list(counts.index),
        format_func=lambda name: f"{name} ({counts[name]:,} reference cells)",
        key=f"hide-label-{run.id}",
        persist_state="session",
        width=420,
    )
    if label in finished:
        st.markdown(f"**{plain(label)}**, hidden")
        on_demand_results.show_hidden(finished[label], label, rejection_rule(run))
        open_button(finished[label])
        return
    if label in hiding:
        show_state(hiding[label])
    if label not in hiding or observed_status(hiding[label]).over:
        offer(run, [related_runs.hiding_params(run.params, label)], f"Hide {plain(label)}", key="hide")


def stability_section(run: Run, everything: list[Run]) -> None:
    """Start the same run under other seeds, and see how many labels change."""
    st.caption(WHY_SEEDS)
    seeded = related_runs.seed_runs(run, everything)
    finished = [other for other in seeded.values() if is_finished(other)]
    for other in seeded.values():
        if other not in finished:
            show_state(other)
    if missing := related_runs.missing_seeds(run, seeded):
        wanted = [related_runs.seeded_params(run.params, seed) for seed in missing]
        numbers = " and ".join(map(str, missing))
        offer(run, wanted, f"Run under {'seed' if len(missing) == 1 else 'seeds'} {numbers}", key="seeds")
    if finished:
        on_demand_results.show_stability(run, finished)
        with st.container(horizontal=True):
            for other in finished:
                open_button(other)


def is_finished(run: Run) -> bool:
    """Whether a run has its result."""
    return observed_status(run).state == "done" and has_stage(run, "evaluate")


def show_state(run: Run) -> None:
    """State of a run that is not finished, in a line, with the ways on."""
    status = observed_status(run)
    stage = stage_titles(run.params).get(status.stage, "")
    epoch = f", epoch {status.epoch} of {status.n_epochs}" if status.n_epochs else ""
    at = f" at '{stage}'{epoch}" if stage and status.state == "running" else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{run_title(run)}** {STATE_BADGES[status.state]}{at}", width="content")
        open_button(run)
        if not status.over:
            st.button("Refresh", icon=":material/refresh:", key=f"look-{run.id}")
    if status.error:
        st.caption(plain(status.error))


def open_button(run: Run) -> None:
    """Go to another run: to what it is doing, or to its maps where it is finished."""
    if st.button(f"Open {run_title(run)}", icon=":material/arrow_forward:", key=f"open-{run.id}"):
        open_run(run.id)
        go("pages/explore.py" if has_stage(run, "evaluate") else "pages/train.py")


def offer(run: Run, wanted: list[RunParams], label: str, *, key: str) -> None:
    """A button that queues runs, with what they are going to cost."""
    try:
        reused = [pipeline.reusable_stages(default_store(), params) for params in wanted]
    except LabelTransferError as error:  # the files have gone since
        st.caption(f"Nothing can be trained from this run any more. {plain(str(error))}")
        return
    st.caption(f"{cost(run, reused)} {before_next(wanted[0])}")
    if start_button(label, key=f"{key}-{run.id}", primary=False, n_runs=len(wanted)):
        for params in wanted:
            queue_run(params)
        st.rerun()


def cost(run: Run, reused: list[list[str]]) -> str:
    """What runs take, by what their stages took in this one; stages that are finished already take nothing."""
    took: dict[str, Any] = {}
    with suppress(LabelTransferError, OSError, ValueError, KeyError):
        took = timing.stage_seconds(run)
    seconds = sum(took.get(stage, 0.0) for stages in reused for stage in STAGES if stage not in stages)
    about = f"About {duration(seconds)} of work, as this run's own stages took." if seconds else ""
    if run.params.mapping:
        return about
    scvi = "scVI's model is reused." if all("integrate" in stages for stages in reused) else "scVI is trained again."
    return f"{about} {scvi}".strip()
