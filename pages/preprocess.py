"""Step 2: gene lengths, shared genes and highly variable genes, with previews of what they do."""

import streamlit as st

from labeltransfer.params import PrepareParams, RunParams
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.worker import pipeline
from pages.preprocess_parts.gene_length_table import choose_lengths
from pages.preprocess_parts.previews import show_previews
from pages.shared.draft import draft
from pages.shared.frame import catching, current_run, drawn_status, go, guard, has_stage, page_header
from pages.shared.live import watch
from pages.shared.start import confirm_cancel, start_button, start_run
from pages.shared.visible_runs import changeable
from pages.shared.widgets import settings_grid

guard()
page_header("Preprocess", "preprocess")

held = draft()
run = current_run()
if not held.complete and run is None:
    st.info("Choose a reference and a query first.", icon=":material/info:")
    st.page_link("pages/data.py", label="Go to Data", icon=":material/arrow_back:")
    st.stop()
if not held.complete and run is not None:
    if has_stage(run, "prepare"):
        with catching():
            show_previews(run.artefact("prepare"))
    else:
        st.info(
            "The open run has not kept its counts. Its settings can be used again from Train.", icon=":material/info:"
        )
    st.stop()

params: RunParams | None = None
with catching():
    with st.container(border=True):
        kept = held.settings.get("prepare") or {}
        if held.settings.get("mapping"):  # genes are the published reference's own, and so are its lengths
            fields = settings_grid(PrepareParams, ("max_query_cells",), kept, held.key("prepare"), columns=4)
            full = kept.get("length_normalize") == "query"
            about = "For full-length protocols such as Smart-seq2. The reference was prepared when it was trained."
            full = st.toggle("Normalise the query by gene length", full, key=held.key("prepare-full"), help=about)
            fields["length_normalize"] = "query" if full else "none"
        else:
            fields = settings_grid(
                PrepareParams,
                ("length_normalize", "n_top_genes", "hvg_batch", "max_query_cells"),
                kept,
                held.key("prepare"),
                columns=4,
            )
        held.set_section("prepare", **fields)
        like_reads = [side for side in ("reference", "query") if held.notes.get(f"{side}_full_length")]
        if like_reads:
            st.caption(
                f"The counts of the {' and of the '.join(like_reads)} look like reads of a full-length protocol."
            )
        if fields["length_normalize"] != "none":
            choose_lengths(held)
        elif kept.get("gene_lengths") and held.notes.get("reference_source") != "demo":
            held.set_section("prepare", gene_lengths=None)
    params = held.params(last_stage="prepare")
    store = default_store()
    key = pipeline.stage_keys(params)["prepare"]
if params is None:
    st.stop()

same = run is not None and not drawn_status(run).over and pipeline.stage_keys(run.params)["prepare"] == key
if store.has_stage("prepare", key):
    if st.button("Continue to Train", type="primary", icon=":material/arrow_forward:"):
        go("pages/train.py")
    with catching():
        show_previews(store.stage_folder("prepare", key))
elif same and run is not None:
    watch(run)
    if run.cancel_requested():
        st.caption("Stopping: it ends within seconds.")
    elif changeable(run) and st.button("Cancel", icon=":material/block:"):
        confirm_cancel(run)
else:
    if start_button("Prepare"):
        with catching():
            start_run(params)
    st.caption(
        "Reads the chosen query cells and brings them to integer counts over the published reference's genes."
        if params.mapping
        else "Reads the chosen cells, brings both sides to integer counts over shared genes and chooses genes to train "
        "on."
    )
    if run is not None and drawn_status(run).over and drawn_status(run).state != "done":
        with catching():
            if pipeline.stage_keys(run.params)["prepare"] == key:
                watch(run)
