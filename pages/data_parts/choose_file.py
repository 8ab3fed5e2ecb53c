"""The way in: choose the file of one side from the demo, the catalogue, the data folder or an upload."""

from pathlib import Path
from typing import Any

import streamlit as st

from labeltransfer.data.demo import simulate
from labeltransfer.data.intake.probe import probe
from labeltransfer.formats import SUFFIXES
from labeltransfer.params import PrepareParams, Side
from labeltransfer.storage.home import data_dir
from pages.data_parts.choose_catalogue import choose_catalogue
from pages.data_parts.published_reference import choose_reference, drop_card
from pages.shared import words
from pages.shared.draft import Draft, draft, replace_draft
from pages.shared.frame import catching
from pages.uploads import sources
from pages.uploads.inbox import upload

SOURCES = {
    "demo": "Demo",
    "catalogue": "Tabula Muris Senis",
    "folder": "Data folder",
    "upload": "Upload",
    "library": "Published reference",
}
UPLOAD_HELP = "It goes to this server's disk as it arrives. What is there already belongs in its data folder."
SOURCE_HELP = (
    "**Demo**: a simulated marrow pair, made in seconds. **Tabula Muris Senis**: the published Smart-seq2 and 10x "
    "files. **Data folder**: h5ad files on this server. **Upload**: an h5ad file of yours."
)
LIBRARY_HELP = " **Published reference**: a trained one, onto which the query is mapped without training again."


def start_with_demo() -> None:
    """Choose the demo pair for both sides, with its settings."""
    with st.spinner("Simulating the demo pair: a few seconds, once."):
        replace_draft(simulate.ensure_demo(), reference_source="demo", query_source="demo")


def choose_file(side: Side) -> str | None:
    """Show the choice of one side; returns the path that is chosen now."""
    held = draft()
    side_settings = held.settings[side]
    start = held.notes.get(f"{side}_source") or ("kept" if side_settings.get("path") else None)
    options = [name for name in SOURCES if side == "reference" or name != "library"]
    options += ["kept"] if start == "kept" else []
    source = st.segmented_control(
        "Source",
        options,
        default=start,
        format_func=lambda name: SOURCES.get(name, "As before"),
        key=held.key(f"{side}-source"),
        help=SOURCE_HELP + (LIBRARY_HELP if side == "reference" else ""),
    )
    if source is None:
        return None
    if side == "reference" and source == "library":
        with catching():
            return choose_reference(held)
        return None
    if side == "reference":
        drop_card(held)
        side_settings = held.settings[side]
    chosen: dict[str, Any] | None = None
    with catching():
        if source == "demo":
            chosen = _demo(side)
        elif source == "catalogue":
            chosen = choose_catalogue(side, held)
        elif source == "folder":
            chosen = _folder(side, held)
        elif source == "upload":
            chosen = _upload(side, held)
        else:
            chosen = {"path": side_settings.get("path")}
            st.caption(f"File of the earlier run: {words.plain(sources.describe_path(side_settings['path']))}")
    if chosen is None:
        return None
    held.note(**{f"{side}_source": source})
    if chosen["path"] != side_settings.get("path"):  # another file: what was chosen for the last one no longer fits
        held.change(**{side: chosen})
        held.note(**{f"{side}_guessed": source in ("demo",)})
        if source == "demo" and side == "reference":
            held.change(prepare=simulate.demo_params().prepare.model_dump(mode="json"))
        elif side == "reference":
            held.change(prepare=PrepareParams().model_dump(mode="json"))
    return chosen["path"]


def _demo(side: Side) -> dict[str, Any]:
    with st.spinner("Simulating the demo pair: a few seconds, once."):
        params = simulate.ensure_demo()
    st.caption(
        "Simulated mouse marrow: Smart-seq2 reference, 10x query; other tissues, males and unlabelled cells too."
    )
    return getattr(params, side).model_dump(mode="json")


def _folder(side: Side, held: Draft) -> dict[str, Any] | None:
    where = data_dir()
    names, unusable = _listed(where) if where else ([], [])
    if unusable:
        shown = ", ".join(map(words.plain, unusable[:3])) + (" and others" if len(unusable) > 3 else "")
        st.caption(f"{len(unusable)} more cannot be chosen until its name is changed to plain text: {shown}.")
    if not names:
        st.caption(
            f"No h5ad file in {words.plain(str(where))} yet."
            if where
            else "This server has no data folder: its administrator sets LABELTRANSFER_DATA_DIR to one."
        )
        return None
    kept = held.settings[side].get("path")
    current = next((i for i, name in enumerate(names) if kept and str(sources.folder_file(name)) == kept), None)
    name = st.selectbox(
        "File",
        names,
        index=current,
        placeholder="Choose a file",
        key=held.key(f"{side}-folder"),
        help=f"h5ad files of the data folder and its subfolders ({len(names)}).",
    )
    return {"path": str(sources.folder_file(name))} if name else None


@st.cache_data(ttl=5, max_entries=2, show_spinner=False)
def _listed(root: Path) -> tuple[list[str], list[str]]:
    """Files of the data folder, looked up at most every five seconds: it may be large and far away."""
    return sources.folder_files()


def _upload(side: Side, held: Draft) -> dict[str, Any] | None:
    kept = held.settings[side].get("path")
    sent = upload("File", [suffix[1:] for suffix in SUFFIXES], key=held.key(f"{side}-upload"), about=UPLOAD_HELP)
    if sent is not None:
        file_id, path = sent
        if st.session_state.get(f"{side}-probed") != file_id:
            with st.spinner(f"Looking whether {words.plain(path.name)} is sound: a few seconds."):
                probe(path)
            st.session_state[f"{side}-probed"] = file_id
        return {"path": str(path)}
    if kept and held.notes.get(f"{side}_source") == "upload":
        st.caption(f"Uploaded: {words.plain(Path(kept).name)}")
        return {"path": kept}
    return None
