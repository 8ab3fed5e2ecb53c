"""What leaves the app: labels, the annotated data, the models, the figures and the settings."""

from functools import partial
from pathlib import Path

import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.results.export import predictions
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.figures.confusion_matrix import confusion_heatmap
from labeltransfer.results.figures.scatter import Basis, scatter
from labeltransfer.results.trust.rejection import FARTHEST
from labeltransfer.runs.output.supplement import ANNOTATED, report_html, run_models, script_of
from labeltransfer.runs.records.run import Run
from pages.export_parts.writers import SUPPLEMENT, offer, show_written
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.edit_view import edits_caption
from pages.shared.frame import catching, guard, page_header, require_run
from pages.shared.trust_view import METHOD_NAMES, rejection_rule
from pages.shared.words import size

BASES: dict[Basis, str] = {"scanvi": "scANVI", "scvi": "scVI"}
PREVIEW_ROWS = 200


def show_predictions(run: Run) -> None:
    """Predictions of the query as CSV, all or filtered."""
    cells = cached.cells(run)
    query = cached.side_rows(run, ["query"])
    labels = label_counts(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.multiselect(
            "Predicted label",
            list(labels),
            format_func=lambda label: f"{label} ({labels[label]:,})",
            placeholder="All labels",
            key=f"export-labels-{run.id}",
        )
        least = st.slider(
            "Confidence at least",
            0.0,
            1.0,
            0.0,
            0.01,
            key=f"export-confidence-{run.id}",
            help="scANVI's probability of the predicted label.",
            width=280,
        )
    with_opinions = [name for name in METHOD_NAMES if name == "scanvi" or f"{name}_label" in cells]
    method = st.segmented_control(
        "Label handed over",
        with_opinions,
        default="scanvi",
        format_func=lambda name: METHOD_NAMES[name],
        required=True,
        key=f"export-method-{run.id}",
        help="Whose label stands as predicted_label in the CSV; of any but scANVI's the column method says so.",
    )
    edits = cached.edits(run)
    rule, label = rejection_rule(run), "predicted_label" if method == "scanvi" else f"{method}_label"
    offered = partial(predictions.predictions, cells, run.id, rule=rule, label=label, edits=edits)
    keep = cells["confidence"].to_numpy()[query] >= least
    if wanted:
        keep &= cells["predicted_label"].isin(wanted).to_numpy()[query]
    rows = query[keep]
    st.dataframe(
        offered(rows=rows[:PREVIEW_ROWS]),
        hide_index=True,
        height=250,
        column_config={
            "confidence": st.column_config.NumberColumn(format="%.3f"),
            "second_confidence": st.column_config.NumberColumn(format="%.3f"),
        },
        alt="First rows of the predictions",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"Download {len(rows):,} predictions as CSV",
            lambda: to_csv(offered(rows=rows)),
            file_name=f"predictions-{run.id}.csv",
            mime="text/csv",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
            disabled=not len(rows),
            key="export-csv",
        )
        preview = f"; the first {PREVIEW_ROWS} are shown" if len(rows) > PREVIEW_ROWS else ""
        st.caption(f"{len(rows):,} of {len(query):,} query cells{preview}.")
    edits_caption(edits, len(cells))
    if rule.active:
        far = f" or lies beyond the {rule.distance:g}th percentile of distances" if rule.distance < FARTHEST else ""
        st.caption(
            f"A cell whose confidence is below {rule.confidence:.2f}{far} is handed over as Unknown, with its label in "
            "the column rejected_label. Explore is where this is set."
        )


@reader(cells_file, max_entries=32)
def label_counts(run: Run) -> dict[str, int]:
    """Query cells by predicted label, the largest first."""
    cells = cached.cells(run)
    counts = cells.loc[cells["side"] == "query", "predicted_label"].value_counts()
    return {str(label): int(n) for label, n in counts.items() if n}


def show_models(run: Run) -> None:
    """Both model folders as one zip."""
    try:
        folders = {name: run.artefact(stage, "model") for name, stage in run_models(run).items()}
    except RunError:
        st.caption("This run was kept without its models.")
        return
    target = run.folder / "exports" / "models.zip"
    offer("Download the models", lambda: models_zip(target, folders), f"models-{run.id}.zip")
    st.caption("In Python, with the annotated file as `adata`:")
    st.code("adata = adata[:, adata.var['highly_variable']].copy()\nscvi.model.SCANVI.load('scanvi_model', adata)")


def show_report(run: Run) -> None:
    """The report, the script that repeats the run, and everything as one zip."""
    with st.container(horizontal=True):
        offer("Download the report", lambda: report_html(run), f"report-{run.id}.html")
        try:
            run.artefact("prepare", "summary.json")
            if run.params.mapping is None:
                offer("Download the script", lambda: script_of(run), f"script-{run.id}.py")
        except RunError:
            st.caption("This run was kept without its counts, so no script can repeat it.")
    if run.params.mapping:
        st.caption("A run that was mapped has no script: the published reference's model is not in the input files.")
    st.caption(
        "The report is one HTML file that opens anywhere, without a network, and prints. The script repeats the run "
        "with plain scvi-tools, scanpy and anndata; its first lines say how close it comes."
    )
    with st.container(border=True):
        st.write("**Everything as one zip**: predictions, report, script, models, settings, scores.")
        written = (run.folder / ANNOTATED).exists()
        st.caption("The annotated h5ad goes in too." if written else "The annotated h5ad goes in once it is written.")
        show_written(run, "supplement", SUPPLEMENT, f"everything-{run.id}.zip", label="Make the zip")


def show_annotated(run: Run) -> None:
    """The annotated AnnData: written by a process of its own, for it holds all counts, and kept with the run."""
    target = run.folder / ANNOTATED
    try:
        latent = run.params.latent_stage
        for stage, name in (("prepare", "prepared.h5ad"), (latent, "latent.npy"), ("transfer", "soft.parquet")):
            run.artefact(stage, name)
    except RunError:
        if not target.exists():
            st.caption("This run was kept without its counts, so there is nothing to annotate.")
            return
    show_written(run, "annotate", ANNOTATED, f"{run.id}.h5ad", label="Write the file")
    if not target.exists():
        n_bytes = run.artefact("prepare", "prepared.h5ad").stat().st_size
        st.caption(f"It takes a while and some {size(3 * n_bytes)} of disk; you can leave this page meanwhile.")


def models_zip(target: Path, folders: dict[str, Path]) -> bytes:
    """Content of the zip, which is made once."""
    return (target if target.exists() else predictions.zip_models(target, folders)).read_bytes()


def show_figures(run: Run) -> None:
    """Maps and confusion matrix as HTML files that need nothing else."""
    basis: Basis = st.segmented_control(
        "Map of",
        [basis for basis in BASES if run.params.mapping is None or basis == "scanvi"],
        default="scanvi",
        format_func=lambda key: BASES[key],
        required=True,
        key="export-basis-mapped" if run.params.mapping else "export-basis",
    )
    with st.container(horizontal=True):
        for column, name in (("predicted_label", "predicted"), ("observed_label", "observed")):
            offer(
                f"Map by {name} label",
                partial(map_html, run, basis, column),
                f"map-{basis}-{name}-{run.id}.html",
            )
        scores = cached.metrics(run)["query"]
        if scores["n_unlabelled"] < scores["n_cells"]:
            offer("Confusion matrix", lambda: confusion_html(run), f"confusion-{run.id}.html")
    st.caption(
        "Each opens in any browser, without a network; maps hold all cells. For a PNG use the camera at the corner of "
        "the map on Explore, and the menu at the corner of the matrix on Compare."
    )


def map_html(run: Run, basis: Basis, column: str) -> str:
    """Both sides' map as one HTML page."""
    cells = cached.cells(run)
    figure = scatter(cells, cells[column], basis=basis, colours=cached.colours(run), names=cells[column])
    return figure.to_html(include_plotlyjs=True)


def confusion_html(run: Run) -> str:
    """The query's confusion matrix as one HTML page."""
    table = cached.confusion(run, side="query", normalize="observed")
    return confusion_heatmap(table, title=f"Query cells, run {run.id}").to_html(include_plotlyjs=True)


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
        st.write("Everything that was asked of this run; the command line takes it with `--params`.")
        offer("Download params.json", lambda: (run.folder / "params.json").read_bytes(), f"params-{run.id}.json")
