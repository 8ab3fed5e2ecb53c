"""Step 3: train scVI and scANVI, and watch them."""

import streamlit as st

from pages.shared.draft import draft, draft_from_run
from pages.shared.frame import catching, current_run, drawn_status, go, guard, has_stage, open_run, page_header
from pages.shared.live import watch
from pages.shared.start import confirm_cancel, start_button, start_run
from pages.shared.visible_runs import changeable, whose_to_change
from pages.shared.words import plain
from pages.train_parts.settings_table import settings_table
from pages.train_parts.training_form import expectations, mapping_form, training_form

guard()
page_header("Train", "train")

held = draft()
run = current_run()
if run is None and st.session_state.get("run"):
    st.warning("There is no such run (any more).", icon=":material/search_off:")
with catching():
    trains = run is not None and run.params.last_stage == "evaluate"
    if run is not None and trains:
        status = drawn_status(run)
        finished = has_stage(run, "evaluate")
        with st.container(horizontal=True, vertical_alignment="center"):
            if finished and st.button("Explore the result", type="primary", icon=":material/arrow_forward:"):
                go("pages/explore.py")
            if status.state == "done" and run.params.reference_alone:
                st.page_link("pages/references.py", label="Publish the reference", icon=":material/publish:")
            if not status.over:
                if run.cancel_requested():
                    st.caption(":material/block: Cancelling: it stops within a batch or two, or is ended.")
                elif not changeable(run):
                    st.caption(plain(whose_to_change(run)))
                elif st.button("Cancel", icon=":material/block:"):
                    confirm_cancel(run)
            if (
                status.over
                and run.id != "demo"
                and not run.params.reference_alone
                and st.button(
                    "Use these settings again",
                    type="secondary" if finished else "primary",
                    icon=":material/replay:",
                    help="Take this run's files and settings as the next run's.",
                )
            ):
                draft_from_run(run.params)
                open_run("")
                st.rerun()
            if status.over and held.complete and st.button("Start another run", icon=":material/add:"):
                open_run("")
                st.rerun()
        watch(run)
        with st.expander("Settings of this run", icon=":material/list:"):
            settings_table(run.params)
        st.stop()

if not held.complete:
    st.info("Choose a reference and a query first; then this page trains on them.", icon=":material/info:")
    with st.container(horizontal=True):
        st.page_link("pages/data.py", label="Go to Data", icon=":material/arrow_back:")
        st.page_link("pages/runs.py", label="Open a past run", icon=":material/list:")
    st.stop()

with catching():
    params = mapping_form(held) if held.settings.get("mapping") else training_form(held)
    expectations(held, params)
    if start_button("Start training"):
        start_run(params)
