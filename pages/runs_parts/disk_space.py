"""The space that runs take: how much, keep a run from being cleaned, and clean up."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer.runs.records.access import may_change
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.space import cleaning, disk, quotas
from labeltransfer.runs.space.cleaning import Kind, Plan
from labeltransfer.storage.records import printable
from labeltransfer.units import AGES, SIZES, size
from pages.door.sign_in import visitor
from pages.shared.frame import catching, open_run
from pages.shared.words import plain

USE = {
    "runs": "of settings and logs",
    "stages": "of counts, models and results",
    "downloads": "of downloads",
    "uploads": "of uploads",
    "demo": "of demo data",
    "references": "of published references",
    "removing": "that are being removed",
}
"""What the folders under the app's own hold."""
KINDS: dict[Kind, str] = {
    "leftover": "Begun and never finished",
    "artefact": "Results that no run needs",
    "run": "Run",
    "input": "Upload or download that no run needs",
}
DEFAULT_AGE = 90
"""Days since a run ended that are offered first."""
PLAN = "cleaning"
CARRIED_OUT = "cleaning-carried-out"
SHOWN_STAYS = 20
"""Things that stayed that are listed one by one."""


def keep_button(chosen: list[Run]) -> None:
    """Have cleaning leave the chosen run, or take that back."""
    run = chosen[0] if len(chosen) == 1 and chosen[0].id != "demo" else None
    may = run is not None and may_change(run, visitor())
    kept = run is not None and run.kept
    about = "Cleaning leaves this run and all that it needs. It can still be deleted by hand."
    label, icon = ("No longer keep", ":material/keep_off:") if kept else ("Keep this run", ":material/keep:")
    if st.button(label, icon=icon, disabled=not may, help=about, key="keep") and run is not None and may:
        with catching():
            # Looked up again: it may have been deleted since the page was drawn.
            default_store().run(run.id).keep(not kept)
            st.rerun()


def space() -> None:
    """How much disk is taken, of what limits there are, and the way to clean up."""
    store, person, limits = default_store(), visitor(), quotas.quotas()
    used = _use(store.root)
    parts = ", ".join(f"{size(used[name])} {what}" for name, what in USE.items() if used.get(name))
    most = f" of {size(limits.disk_in_all)}" if limits.disk_in_all is not None else ""
    said = [f"On disk: {size(sum(used.values()))}{most} in {store.root}" + (f" ({parts})." if parts else ".")]
    if limits.disk_per_person is not None:
        own = size(disk.person_bytes(store, person.name))
        said.append(f"{'Your' if person.name else 'All'} runs and uploads: {own} of {size(limits.disk_per_person)}.")
    if done := st.session_state.pop(CARRIED_OUT, None):
        _show_done(done)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(" ".join(said))
        if st.button("Clean up", icon=":material/mop:", help="Old runs and what no run needs; you see it beforehand."):
            st.session_state.pop(PLAN, None)
            clean_up()


@st.cache_data(ttl=30.0, max_entries=4, show_spinner=False)
def _use(root: Path) -> dict[str, int]:
    """See :func:`.disk.disk_use`; at most half a minute old, as it takes a look at every folder."""
    return disk.disk_use(root)


@st.dialog("Clean up", width="large", icon=":material/mop:")
def clean_up() -> None:
    """Ask before anything goes."""
    cleaning_form()


def cleaning_form() -> None:
    """Say what would go and how much that frees, and remove it when asked to."""
    store, person = default_store(), visitor()
    whose = "" if person.admin else " of yours"
    with st.container(horizontal=True):
        age = st.number_input(
            "Older than, days",
            min_value=0,
            value=DEFAULT_AGE,
            help=f"Runs{whose} that ended longer ago, and uploads{whose or ' and downloads'} that no run needs.",
        )
        most = None
        if person.admin:
            most = st.number_input(
                "Until everything takes at most, GB",
                min_value=0.0,
                value=None,
                help="The oldest runs go, whatever their age, until the rest takes no more. Empty: by age alone.",
            )
    with catching():
        plan = _plan(int(age), most)
        if not plan.items:
            st.write("There is nothing to clean.")
            return
        _show(plan)
        if st.button(f"Remove for good, frees {size(plan.n_bytes)}", type="primary", icon=":material/delete:"):
            done = st.session_state[CARRIED_OUT] = cleaning.clean(store, plan, person=person)
            st.session_state.pop(PLAN)
            _use.clear()
            if any(item.path.name == st.session_state.get("run") for item in done.of("run")):
                open_run("")
            st.rerun()


def _plan(days: int, gigabytes: float | None) -> Plan:
    """The plan for these settings: exactly the one shown is carried out, even if more runs grow old meanwhile."""
    asked = (days, gigabytes)
    held: tuple[Any, Plan] | None = st.session_state.get(PLAN)
    if held is None or held[0] != asked:
        until = None if gigabytes is None else round(gigabytes * SIZES["GB"])
        plan = cleaning.plan(default_store(), older_than=days * AGES["d"], until=until, person=visitor())
        held = st.session_state[PLAN] = (asked, plan)
    return held[1]


def _show_done(done: Plan) -> None:
    """What a cleaning has removed, and what stayed, which may have changed since it was listed."""
    n_gone = len(done.items)
    st.success(f"Removed {n_gone} {'thing' if n_gone == 1 else 'things'}; {size(done.n_bytes)} are free again.")
    if done.stays:
        said = [
            f"{plain(stay.item.about if stay.item.kind == 'run' else stay.item.path.name)}: {stay.why}."
            for stay in done.stays[:SHOWN_STAYS]
        ]
        more = len(done.stays) - len(said)
        said += [f"{more} more."] if more else []
        st.info("These stay:\n" + "\n".join(f"- {line}" for line in said), icon=":material/info:")


def _show(plan: Plan) -> None:
    """What goes, the largest first."""
    rows = [
        {
            "What": KINDS[item.kind],
            "Name": printable(item.about if item.kind == "run" else item.path.name),
            "Frees": item.n_bytes,
        }
        for item in sorted(plan.items, key=lambda item: -item.n_bytes)
    ]
    table = pd.DataFrame(rows)
    table["Frees"] = table["Frees"].map(size)
    st.dataframe(table, hide_index=True, height=260, alt="Table: what cleaning removes, and how much that frees.")
    n_runs = len(plan.of("run"))
    st.caption(
        f"{n_runs} {'run' if n_runs == 1 else 'runs'} and {len(plan.items) - n_runs} other things. Running runs, kept "
        "runs and what another run needs stay."
    )
