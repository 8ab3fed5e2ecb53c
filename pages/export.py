"""What leaves the app: labels, the annotated data, the models, the figures and the settings."""

import streamlit as st

from labeltransfer.runs.output.settings import params_json
from pages.export_parts.figure_files import show_figures
from pages.export_parts.predictions_form import show_predictions
from pages.export_parts.run_files import show_annotated, show_models, show_report
from pages.export_parts.writers import offer
from pages.shared.frame import catching, guard, page_header, require_run

guard()
page_header("Export", "export")
run = require_run("evaluate")

with catching():
    st.subheader("Predictions", anchor=False, help="One row a query cell.")
    show_predictions(run)

    with st.container(border=True):
        st.subheader("Report", anchor=False)
        st.write(
            "For the supplement of a paper: what went in, settings, versions, scores, maps, calibration, verdicts, and "
            "a methods paragraph with citations."
        )
        show_report(run)

    left, right = st.columns(2)
    with left, st.container(border=True):
        st.subheader("Annotated AnnData", anchor=False)
        st.write(
            "One h5ad with all cells of both sides and the shared genes: counts, log-normalised expression, both "
            "latents and maps, predicted labels with all probabilities, and the settings."
        )
        show_annotated(run)
    with right, st.container(border=True):
        st.subheader("Models", anchor=False)
        st.write("The trained scVI and scANVI, as plain scvi-tools loads them.")
        show_models(run)
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.subheader("Figures", anchor=False)
        show_figures(run)
    with right, st.container(border=True):
        st.subheader("Settings", anchor=False)
        st.write("Everything that was asked of this run, files by name; the command line takes it with `--params`.")
        offer("Download params.json", lambda: params_json(run), f"params-{run.id}.json")
