"""What surrounds every page: sign-in, the steps on top, the context line, and which run is open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.params import Side
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.storage.home import home
from pages.door.sign_in import fragment, require_sign_in
from pages.shared import draft as drafts
from pages.shared.visible_runs import visible_run
from pages.shared.words import STATE_BADGES, plain, read_counts, run_title, side_words

StepState = Literal["done", "running", "ready", "waiting"]

STEP_ICONS: dict[StepState, str] = {
    "done": ":material/check_circle:",
    "running": ":material/pending:",
    "ready": ":material/radio_button_unchecked:",
    "waiting": ":material/lock_clock:",
}


@dataclass(frozen=True)
class Step:
    """One step of the way, and the page that does it."""

    key: str
    title: str
    about: str

    @property
    def file(self) -> str:
        return f"pages/{self.key}.py"


STEPS = (
    Step("data", "Data", "Choose the reference and the query, and which of their cells to use."),
    Step("preprocess", "Preprocess", "Gene lengths, shared genes and highly variable genes, with previews."),
    Step("train", "Train", "Train scVI and scANVI, and watch them."),
    Step("explore", "Explore", "Look at the cells of both sides on maps."),
    Step("compare", "Compare", "Observed against predicted labels, and what lies behind each difference."),
    Step("export", "Export", "Labels as CSV, the annotated h5ad, models and figures."),
)
RUNS_PAGE = "pages/runs.py"
REFERENCES_PAGE = "pages/references.py"
ACTIVITY_PAGE = "pages/activity.py"


def guard() -> None:
    """First call of every page: nothing is shown outside the frame, nor to a visitor who has not signed in.

    On a server that has not run the frame yet, Streamlit runs the page of a deep link without it.
    """
    if not st.session_state.get("frame"):
        # In the address, not in the session: who reads or reloads it on the way still arrives.
        wanted = (st.context.url or "").rstrip("/").rpartition("/")[2]
        st.switch_page("app.py", query_params=st.query_params.to_dict() | {"page": wanted})
    if not st.session_state.pop("entered", False):  # a page run by itself, as tests do
        st.session_state["drawn"] = {}
    require_sign_in()


def enter_frame() -> None:
    """First call of ``app.py``: notes that the frame is there, and restores what the address holds."""
    st.session_state["frame"] = st.session_state["entered"] = True
    st.session_state["drawn"] = {}
    for name in ("run", "draft"):  # the address wins; a click on a step empties it, and it is filled again
        if name in st.query_params:
            st.session_state[name] = st.query_params[name]
        elif st.session_state.get(name):
            st.query_params[name] = st.session_state[name]


def wanted_page() -> str | None:
    """File of the page that the address asks for by name, as it does on the way from a deep link."""
    wanted = st.query_params.get("page", "")
    files = {step.key: step.file for step in STEPS} | {
        "runs": RUNS_PAGE,
        "references": REFERENCES_PAGE,
        "activity": ACTIVITY_PAGE,
    }
    return files.get(wanted)


def current_run() -> Run | None:
    """The run that is open: its id is in the address as ``run``. None where the visitor has no such run.

    Where the app's folder cannot be used, whether the run exists is unknown: the page says so and stops.
    """
    run_id = st.session_state.get("run")
    if not run_id:
        return None
    try:
        return visible_run(run_id)
    except RunError:
        with catching():
            home()
            return None
        st.stop()


def drawn_status(run: Run) -> Status:
    """What a run was doing when the page was drawn: read once, so that all parts of a page say the same.

    A run may end between two lines of a page's script; :func:`pages.shared.live.watch` draws the page again then.
    """
    drawn: dict[str, Status] = st.session_state["drawn"]
    if run.id not in drawn:
        drawn[run.id] = observed_status(run)
    return drawn[run.id]


def open_run(run_id: str) -> None:
    """Make a run the one that every page shows; an empty id closes it."""
    st.session_state["run"] = run_id
    if run_id:
        st.query_params["run"] = run_id
    else:
        st.query_params.pop("run", None)


def go(page: str) -> NoReturn:
    """Switch to a page, such as ``pages/train.py``, and keep what is open."""
    kept = {name: st.session_state[name] for name in ("run", "draft") if st.session_state.get(name)}
    st.switch_page(page, query_params=kept)


def has_stage(run: Run | None, stage: str) -> bool:
    """Whether the run has the finished artefact of a stage."""
    if run is None:
        return False
    try:
        return run.artefact(stage).exists()
    except RunError:
        return False


def require_run(stage: str | None = None) -> Run:
    """The open run, with ``stage`` finished; else say what is missing, link to it and stop the page."""
    run = current_run()
    if run is None:
        if st.session_state.get("run"):
            st.warning("There is no such run (any more): choose another one.", icon=":material/search_off:")
        else:
            st.info("No run is open yet. Train one, open a past one, or look at the demo run.", icon=":material/info:")
        with st.container(horizontal=True):
            st.page_link("pages/train.py", label="Go to Train", icon=":material/arrow_back:")
            st.page_link(RUNS_PAGE, label="Choose a run", icon=":material/list:")
            if st.button("Look at the finished demo run", type="primary", key="open_demo_here"):
                open_run("demo")
                st.rerun()
        st.stop()
    if stage is None or has_stage(run, stage):
        return run
    st.info(_why_not(run, drawn_status(run), stage), icon=":material/hourglass_top:")
    with st.container(horizontal=True):
        st.page_link("pages/train.py", label="Go to Train", icon=":material/arrow_back:")
        st.page_link(RUNS_PAGE, label="Choose another run", icon=":material/list:")
    if not drawn_status(run).over:
        _come_back_when_over(run)
    st.stop()


@fragment(run_every=3.0)
def _come_back_when_over(run: Run) -> None:
    if observed_status(run).over:
        st.rerun(scope="app")


def _why_not(run: Run, status: Status, stage: str) -> str:
    if not status.over:
        return f"This run is {status.state}: Train shows how far it is. What belongs here appears when it is done."
    if status.state == "done" and run.params.last_stage == "prepare" and stage != "prepare":
        return "This run only prepared the data: train on it first."
    if status.state == "done" and run.params.reference_alone:
        return "This run trained a reference alone: publish it on References, then map queries onto it."
    if status.state == "done":
        return "What this run made has been deleted: start it again from Train."
    return f"This run {'was cancelled' if status.state == 'cancelled' else 'failed'} before it got here: see Train."


def step_states() -> dict[str, tuple[StepState, str]]:
    """State of each step by key, and why, in words."""
    run = current_run()
    ready = drafts.draft().complete
    status = drawn_status(run) if run else None
    alive = status is not None and not status.over
    only_prepares = run is not None and _only_prepares(run)
    states: dict[str, tuple[StepState, str]] = {}
    finished, prepared = has_stage(run, "evaluate"), has_stage(run, "prepare")
    chosen = ready or alive or finished or prepared
    states["data"] = ("done", "Data are chosen.") if chosen else ("ready", "Nothing is chosen yet.")
    if finished or prepared:
        states["preprocess"] = ("done", "The counts are prepared.")
    elif alive and status and status.stage in ("", "prepare"):
        states["preprocess"] = ("running", "The counts are being prepared.")
    else:
        states["preprocess"] = ("ready", "Can start.") if ready else ("waiting", "Waiting for Data.")
    if finished:
        states["train"] = ("done", "The models are trained.")
    elif alive and not only_prepares:
        states["train"] = ("running", "A run is running.")
    else:
        states["train"] = ("ready", "Can start.") if ready else ("waiting", "Waiting for Data.")
    for key in ("explore", "compare", "export"):
        states[key] = ("done", "Open.") if finished else ("waiting", "Waiting for a finished run.")
    return states


def _only_prepares(run: Run) -> bool:
    try:
        return run.params.last_stage == "prepare"
    except LabelTransferError:
        return False


def page_header(title: str, step: str = "") -> DeltaGenerator:
    """Title of a page and the context line under it; returns the line's place, for a page that changes it."""
    about = next((s.about for s in STEPS if s.key == step), None)
    st.title(title, anchor=False, help=about)
    place = st.empty()
    with place:
        context_line()
    return place


def context_line() -> None:
    """One line: reference → query, run, state."""
    run = current_run()
    with catching():
        if run is None:
            held = drafts.draft()
            if held.complete:
                words = " → ".join(side_words(held.settings, s, held.notes.get(f"{s}_counted")) for s in get_args(Side))
                st.caption(f"{words} · no run yet")
            else:
                st.caption("Reference and query are not both ready yet · no run open")
            return
        asked = run.params.model_dump()
        counted = _counted(run)
        shown: tuple[Side, ...] = ("reference",) if run.params.reference_alone else get_args(Side)
        words = " → ".join(side_words(asked, side, counted.get(side)) for side in shown)
        line = f"{words} · run {run_title(run)}"
        st.caption(f"{line} · {STATE_BADGES[drawn_status(run).state]}")


def _counted(run: Run) -> dict[str, Any]:
    try:
        return read_counts(run.artefacts.summary)
    except RunError:
        return {}


@contextmanager
def catching() -> Iterator[None]:
    """Show what a user can fix as a message; anything else surfaces."""
    try:
        yield
    except LabelTransferError as error:
        st.error(plain(str(error)), icon=":material/error:")
