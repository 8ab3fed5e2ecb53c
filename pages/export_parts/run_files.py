"""The models, the report and the annotated data of a run as files."""

from pathlib import Path

import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.results.export import predictions
from labeltransfer.runs.output.supplement import ANNOTATED, report_html, run_models, script_of
from labeltransfer.runs.records.run import Run
from labeltransfer.storage import kept
from pages.export_parts.writers import SUPPLEMENT, offer, show_written
from pages.shared.words import size


def show_models(run: Run) -> None:
    """Both model folders as one zip."""
    try:
        folders = {name: run.artefacts.model(stage) for name, stage in run_models(run).items()}
    except RunError:
        st.caption("This run was kept without its models.")
        return
    target = run.folder / "exports" / "models.zip"
    offer("Download the models", lambda: models_zip(target, folders), f"models-{run.id}.zip")
    st.caption("In Python, with the annotated file as `adata`:")
    st.code("adata = adata[:, adata.var['highly_variable']].copy()\nscvi.model.SCANVI.load('scanvi_model', adata)")


def models_zip(target: Path, folders: dict[str, Path]) -> bytes:
    """Content of the zip, which is made once, and again where it was damaged or a model was made anew since."""
    made = [path.stat().st_mtime for folder in folders.values() for path in (folder, *folder.rglob("*"))]
    if not kept.is_whole(target) or max(made) > target.stat().st_mtime:
        predictions.zip_models(target, folders)
        kept.seal(target)
    return target.read_bytes()


def show_report(run: Run) -> None:
    """The report, the script that repeats the run, and everything as one zip."""
    with st.container(horizontal=True):
        offer("Download the report", lambda: report_html(run), f"report-{run.id}.html")
        try:
            _ = run.artefacts.summary  # raised where it is gone
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
    """The annotated AnnData: written by a separate process, for it holds all counts, and kept with the run."""
    target = run.folder / ANNOTATED
    try:
        found = run.artefacts
        _ = found.prepared, found.latent(run.params.latent_stage), found.soft  # raised where one is gone
    except RunError:
        if not target.exists():
            st.caption("This run was kept without its counts, so there is nothing to annotate.")
            return
    show_written(run, "annotate", ANNOTATED, f"{run.id}.h5ad", label="Write the file")
    if not target.exists():
        n_bytes = run.artefacts.prepared.stat().st_size
        st.caption(f"It takes a while and some {size(3 * n_bytes)} of disk; you can leave this page meanwhile.")
