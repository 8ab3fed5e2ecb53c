"""Running, queued and past runs: open, cancel, delete, keep, clean up."""

import streamlit as st

from labeltransfer.runs.queue.observed import observed_status
from pages.door.sign_in import fragment, visitor
from pages.runs_parts.disk_space import keep_button, space
from pages.runs_parts.runs_table import SHOWN, damage_words, listing, newest, shipped_demo
from pages.shared.frame import ACTIVITY_PAGE, catching, go, guard, has_stage, open_run, page_header
from pages.shared.start import confirm_cancel, confirm_delete
from pages.shared.visible_runs import changeable, visible_runs, whose_to_change
from pages.shared.words import plain, run_title

guard()
page_header("Runs")


with catching():
    kept = visible_runs()
    everything = shipped_demo() + kept
    running = [run for run in kept if not observed_status(run).over]
    if not everything:
        st.info("There are no runs yet.", icon=":material/info:")
        st.page_link("pages/data.py", label="Go to Data", icon=":material/arrow_back:")
        st.stop()

    listed = newest(everything, running)
    if len(listed) < len(everything):
        about = f"Listed are the newest {SHOWN:,} and all that are not over."
        if st.toggle(f"Show all {len(everything):,} runs", help=about, key="runs-all"):
            listed = everything
    chosen = listing(listed, any_wait=bool(running))
    with st.container(horizontal=True, vertical_alignment="center"):
        one = chosen[0] if len(chosen) == 1 else None
        if st.button("Open", type="primary", icon=":material/visibility:", disabled=one is None) and one:
            open_run(one.id)
            go("pages/explore.py" if has_stage(one, "evaluate") else "pages/train.py")
        can_cancel = one is not None and one in running and not one.cancel_requested() and changeable(one)
        if st.button("Cancel", icon=":material/block:", disabled=not can_cancel) and one:
            confirm_cancel(one)
        can_delete = bool(chosen) and all(run.id != "demo" and run not in running and changeable(run) for run in chosen)
        if st.button("Delete", icon=":material/delete:", disabled=not can_delete):
            confirm_delete(chosen)
        keep_button(chosen)
        if not chosen:
            st.caption("Choose a run in the table's first column.")
        elif one and (words := damage_words(one)):
            st.caption(plain(words))
        elif foreign := next((run for run in chosen if run.id != "demo" and not changeable(run)), None):
            st.caption(plain(whose_to_change(foreign)))
        elif len(chosen) > 1:
            st.caption(f"{len(chosen)} runs chosen: they can be deleted together.")
        elif one and one.id == "demo":
            st.caption("The demo run belongs to the app and stays.")
        elif one and one in running:
            st.caption(f"{run_title(one)} is still running: cancel it before you delete it.")

    space()
    if visitor().admin:
        st.page_link(ACTIVITY_PAGE, label="Activity and health", icon=":material/history:")

    if running:
        seen = {run.id: observed_status(run).state for run in running}

        @fragment(run_every=2.0)
        def notice_changes() -> None:
            """Show the table again when a run changes its state."""
            if {run.id: observed_status(run).state for run in visible_runs() if not observed_status(run).over} != seen:
                st.rerun(scope="app")

        notice_changes()
