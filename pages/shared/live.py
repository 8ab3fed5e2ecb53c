"""A running run: its stages, epochs, times, losses and machine, all read from the run directory."""

import time
from contextlib import suppress
from typing import Any

import streamlit as st

from labeltransfer.errors import LabelTransferError
from labeltransfer.results.figures.charts import loss_chart
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.scores import read_scores
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.records.timing import remade_stages, remaining_seconds, training_history
from labeltransfer.runs.worker.pipeline import stages_of
from labeltransfer.runs.worker.stages import stage_titles
from pages.door.sign_in import fragment
from pages.shared import words
from pages.shared.frame import catching, drawn_status
from pages.shared.queue_words import places
from pages.shared.visible_runs import names_of

EVERY = 1.0
"""Seconds between two looks at a running run."""

LOSS_TITLES = {"integrate": "scVI", "transfer": "scANVI"}


def watch(run: Run) -> None:
    """Show a run, again every second while it is running; the page is run again when it ends."""
    before = drawn_status(run)

    @fragment(run_every=None if before.over else EVERY)
    def look() -> None:
        status = observed_status(run)
        if status.state != before.state:  # the steps on top and the context line say it too
            st.rerun(scope="app")
        with catching():
            show(run, status)

    look()


def show(run: Run, status: Status) -> None:
    """Show the present state of a run."""
    if status.notice and run.on_cluster:
        st.info(words.plain(status.notice), icon=":material/cloud:")
    elif status.notice:
        st.warning(words.plain(status.notice), icon=":material/hourglass_disabled:")
    elif status.state == "queued":
        _queued(run)
    if status.state == "failed":
        st.error(
            words.plain(status.error or "No reason was written down."),
            title="The run failed",
            icon=":material/error:",
        )
    if status.state == "cancelled":
        about = f"Cancelled. Finished stages are kept and reused. {words.plain(status.error)}"
        st.warning(about.rstrip(), icon=":material/block:")
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown("  \n".join(_stage_lines(run, status)))
        if status.state == "running":
            _progress(run, status)
        _machine(status)
        if status.state == "done":
            _result(run)
    with right:
        if run.params.last_stage == "prepare":
            _messages(run)
        else:
            losses(run)
    if not status.over:
        st.caption(
            "Leaving is safe: the run goes on without this page, and everyone who opens it sees the same. "
            f"{'Started' if status.started else 'Asked for'} {words.when(status.started or status.created)}."
        )
    if status.state == "failed":
        with st.expander("End of the log", icon=":material/description:"):
            st.code(run.log_tail() or "The log is empty.", language=None)


def _queued(run: Run) -> None:
    place = places().get(run.id)
    running = [r for r in default_store().runs() if observed_status(r).state == "running"]
    if running and place:
        st.info(
            f"Waiting for a free device: {place.words(' in the queue')}. Running now: {names_of(running)}.",
            icon=":material/schedule:",
        )
    else:
        st.info("Starting the worker: this takes a few seconds.", icon=":material/schedule:")


def _stage_lines(run: Run, status: Status) -> list[str]:
    """One line a stage, with its state and seconds."""
    started = {e["stage"]: e for e in run.events("start")}
    ended = {e["stage"]: e for e in run.events("end")}
    remade = remade_stages(run)
    lines = []
    for stage in stages_of(run.params):
        title = stage_titles(run.params)[stage]
        if stage in ended:
            reused = started.get(stage, {}).get("reused")
            note = "reused" if reused else words.duration(ended[stage]["seconds"])
            if stage in remade:
                note += f", was damaged on disk and made again {words.when(remade[stage])}"
            icon = ":green[:material/check_circle:]"
        elif stage in started and status.state == "running":
            icon, note = (
                ":blue[:material/pending:]",
                f"running, {words.duration(time.time() - started[stage]['time'])}",
            )
        elif stage in started:
            icon, note = ":orange[:material/cancel:]", status.state
        else:
            icon, note = ":gray[:material/radio_button_unchecked:]", "waiting" if not status.over else "not reached"
        lines.append(f"{icon} {title} :gray[· {note}]")
    return lines


def _progress(run: Run, status: Status) -> None:
    title = stage_titles(run.params).get(status.stage, "Starting")
    elapsed = words.duration(time.time() - status.started) if status.started else "unknown"
    if status.n_epochs:
        left = remaining_seconds(run, status)
        at_most = "at most " if _may_stop_early(run, status.stage) else ""
        text = f"{title}: epoch {min(status.epoch + 1, status.n_epochs)} of {at_most}{status.n_epochs}"
        st.progress(min(status.fraction, 1.0), text=text)
        still = f"{at_most or 'about '}{words.duration(left)}" if left is not None else "known after the first epoch"
        st.caption(f"{elapsed} elapsed since the start · {title} still takes {still}", help="From the last ten epochs.")
    else:
        still = "takes seconds to a few minutes"
        if status.stage in LOSS_TITLES:
            still = "loads its libraries first, within a minute; then epochs are counted"
        st.progress(min(status.fraction, 1.0), text=f"{title}: {words.plain(status.message) or 'beginning'}")
        st.caption(f"{elapsed} elapsed since the start · this step {still}")


def _may_stop_early(run: Run, stage: str) -> bool:
    params = run.params
    return params.integrate.early_stopping if stage == "integrate" else params.transfer.early_stopping


def _machine(status: Status) -> None:
    if not status.device:
        return
    used = status.resources
    lines = [f"**Device** {words.plain(status.device)}"]
    if status.state == "running" and used:
        if "gpu_percent" in used:
            lines.append(
                f"**GPU** {used['gpu_percent']:.0f} % busy, {words.size(used['gpu_memory_bytes'])} of "
                f"{words.size(used['gpu_memory_total_bytes'])} memory"
            )
        lines.append(
            f"**CPU** {used.get('cpu_percent', 0):.0f} % of one core, {words.size(used.get('memory_bytes', 0))} memory"
        )
    st.markdown("  \n".join(lines))


def _result(run: Run) -> None:
    """Accuracy, where the query has labels to compare with."""
    with suppress(LabelTransferError):
        query = read_scores(run).query
        if query.accuracy is None or query.macro_f1 is None:
            st.caption(f"{query.n_cells:,} query cells have a predicted label; none has one to compare with.")
            return
        scored = f"{query.n_scored:,} scored cells of {query.n_cells:,} in the query"
        with st.container(horizontal=True):
            st.metric(
                "Accuracy",
                f"{query.accuracy:.1%}",
                help=f"{query.n_correct:,} correct of {scored}: those whose observed label the reference has.",
                width="content",
            )
            st.metric(
                "Macro-F1",
                f"{query.macro_f1:.3f}",
                help=f"Mean of the F1 scores of {query.n_labels} labels, over {scored}.",
                width="content",
            )
        st.caption(f"Over {scored}.")


def _messages(run: Run) -> None:
    said = [words.plain(event["text"]) for event in run.events("message")]
    st.markdown("\n".join(f"{i}. {text}" for i, text in enumerate(said, 1)) or ":gray[What is done is listed here.]")


def losses(run: Run) -> None:
    """Loss curves of both trainings, of this run or of the one whose model it reuses."""
    try:
        events = training_history(run)
    except (LabelTransferError, OSError, ValueError):
        events = []
    if not events:
        st.caption(
            "No epoch was finished." if observed_status(run).over else "Loss curves appear with the first epoch."
        )
        return
    fast_scanvi = run.params.transfer.loop == "fast"
    for stage, name in LOSS_TITLES.items():
        own = [event for event in events if event.get("stage") == stage]
        epochs = [event for event in own if event["event"] == "epoch"]
        if not epochs:
            continue
        title, about = f"{name} loss", "Negative evidence lower bound per cell, and what each training adds."
        if stage == "transfer" and fast_scanvi:
            title = "scANVI classification loss"
            about = "Mean cross entropy of labelled reference cells, trained on and held out: 0 is certain and right."
        st.markdown(f"**{title}**", help=about)
        st.altair_chart(loss_chart(epochs), width="stretch", height=250, alt=_loss_words(epochs, title))
        for stopped in (event for event in own if event["event"] == "stopped"):
            st.caption(_why_stopped(stopped, stage))


def _why_stopped(stopped: dict[str, Any], stage: str) -> str:
    """Why a training in the fast loop ended, and which weights were kept."""
    n_epochs, best = stopped["n_epochs"], stopped["best_epoch"]
    cells = "held-out reference cells" if stage == "transfer" else "held-out cells"
    why = f"{cells} no longer improved" if stopped["converged"] else "all epochs were used"
    kept = "" if best == n_epochs else f" The weights of epoch {best} are kept, the best ones."
    return f"Stopped after epoch {n_epochs}: {why}.{kept}"


def _loss_words(epochs: list[dict[str, Any]], title: str) -> str:
    last = epochs[-1].get("train_loss")
    return f"Line chart: {title} over {len(epochs)} epochs" + (f", now {last:.4g}." if last is not None else ".")
