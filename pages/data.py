"""Step 1: choose the reference and the query, and which of their cells to use."""

import streamlit as st

from pages.data_parts.choose_file import start_with_demo
from pages.data_parts.input_readers import gene_report, shared_cells
from pages.data_parts.published_reference import mapped_genes
from pages.data_parts.side_panel import side_panel
from pages.shared.draft import draft, draft_from_run
from pages.shared.frame import catching, context_line, current_run, go, guard, open_run, page_header
from pages.shared.visible_runs import visible_runs
from pages.shared.widgets import show_findings

guard()
context = page_header("Data", "data")

was_complete = draft().complete
if draft().empty:
    with catching(), st.container(border=True):
        if not visible_runs():
            st.markdown(
                "**New here?** Labels travel from an annotated reference to a query that has none, or other ones."
            )
        with st.container(horizontal=True):
            look = st.button("Look at the finished demo run", type="primary", icon=":material/visibility:")
            begin = st.button("Start with the demo data", icon=":material/play_arrow:")
            run = current_run()
            again = (
                run is not None and run.id != "demo" and st.button("Use the open run's data", icon=":material/replay:")
            )
        if run is not None and again:
            draft_from_run(run.params)
            st.rerun()
        if look:
            open_run("demo")
            go("pages/explore.py")
        if begin:
            start_with_demo()
            open_run("")  # what is composed now is another run than the one that was looked at
            st.rerun()

reference_column, query_column = st.columns(2, gap="large")
with reference_column:
    wrong = side_panel("reference")
with query_column:
    wrong += side_panel("query")

held = draft()
readable = not any("cannot be used" in reason for reason in wrong)  # the panel has said why
if readable and all(held.settings[side].get("path") for side in ("reference", "query")):
    st.subheader("Genes of both", anchor=False, help="The models see only genes that both files have, matched by name.")
    with catching():
        mapped = bool(held.settings.get("mapping"))
        findings = mapped_genes(held) if mapped else gene_report(held)
        show_findings([*([] if mapped else shared_cells(held)), *findings], fold_notes=False)
        wrong += ["the two files' genes do not match"] if any(f.severity == "error" for f in findings) else []

if not held.empty:
    held.note(blocked=bool(wrong))
if held.complete != was_complete:  # the steps on top were drawn before
    st.rerun()
with context:
    context_line()
reason = f"To go on: {'; '.join(wrong)}." if wrong else ""
with st.container(horizontal=True, vertical_alignment="center"):
    chosen = st.button(
        "Continue to Preprocess",
        type="secondary" if held.empty else "primary",
        icon=":material/arrow_forward:",
        disabled=bool(wrong),
        help=reason or None,
    )
    if reason:
        st.caption(reason)
if chosen:
    go("pages/preprocess.py")
