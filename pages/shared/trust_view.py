"""Whether a run's labels can be trusted: the alarm, the rejection rule that was set, and the methods' names."""

import streamlit as st

from labeltransfer.results.scores.cells import CONSENSUS, METHODS
from labeltransfer.results.trust.rejection import FARTHEST, Rule
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.words import plain

OLD_RUN = "This run is older than the checks of trust: start it again from Train, and its models are trained again."
WHAT_TO_TRY = (
    "What to try: see on Compare where the classifiers differ, and on Explore which cells few of them agree on; "
    "check under Data that both sides hold raw counts; normalise full-length data by gene length; take more genes; "
    "choose a reference of the same tissue and of a technology nearer to the query's."
)
METHOD_NAMES = METHODS | {CONSENSUS: "Consensus of all"}


def in_sentence(method: str) -> str:
    """Name of a method as a sentence has it."""
    return "the consensus" if method == CONSENSUS else METHOD_NAMES[method]


def alarm_banner(run: Run) -> None:
    """Say first of all that a run's labels should not be trusted as they are; nothing where they may."""
    alarm = cached.trust(run).get("alarm")
    if not alarm or alarm["level"] == "ok":
        return
    reasons = plain(" ".join(alarm["reasons"]))
    if alarm["level"] == "alarm":
        text = f"**These labels should not be trusted as they are.** {reasons}\n\n{WHAT_TO_TRY}"
        st.error(text, icon=":material/warning:")
    else:
        st.warning(f"**Check these labels.** {reasons}", icon=":material/warning:")


def answer(run: Run) -> str:
    """Method whose label a run hands out, by its name; scANVI in runs that are older than the consensus."""
    return str(cached.trust(run).get("answer", "scanvi"))


def voters(run: Run) -> list[str]:
    """Names of the methods that have a vote in a run, which ``agreement`` counts."""
    return list(cached.trust(run).get("voters", ("scanvi", "knn", "forest", "regression")))


def rejection_rule(run: Run) -> Rule:
    """The rule that was set for a run in this session; at first that of its settings."""
    held = st.session_state
    return Rule(
        held.get(f"reject-confidence-{run.id}", run.params.reject_below or 0.0),
        held.get(f"reject-distance-{run.id}", FARTHEST),
    )
