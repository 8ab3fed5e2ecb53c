"""Choice of the gene-length table."""

from pathlib import Path

import streamlit as st

from labeltransfer.params import PrepareParams
from pages.shared.draft import Draft
from pages.shared.words import plain
from pages.uploads import sources
from pages.uploads.inbox import upload

TUTORIAL = "tutorial"
SUFFIXES = (".txt", ".tsv", ".csv")


def choose_lengths(held: Draft) -> None:
    """Show the choice of the table and keep it in the draft."""
    kept = held.settings.get("prepare", {}).get("gene_lengths")
    names = {TUTORIAL: "The tutorial's", "folder": "Data folder", "upload": "Upload"}
    if kept:
        names = {"kept": plain(Path(kept).name), **names}
    source = st.segmented_control(
        PrepareParams.model_fields["gene_lengths"].title or "Gene-length table",
        list(names),
        default="kept" if kept else TUTORIAL,
        format_func=names.__getitem__,
        required=True,
        key=held.key(f"lengths-{kept}"),
        help="A gene and a length on each line. The tutorial's table has 20,508 mouse genes and is fetched once. Genes "
        "without a length are left out, and the summary says how many.",
    )
    path = kept if source == "kept" else None
    if source == "folder":
        options, _ = sources.folder_files(SUFFIXES)
        name = st.selectbox("Table", options, index=None, placeholder="Choose a file", key=held.key("lengths-file"))
        if not options:
            st.caption("There is no .txt, .tsv or .csv file in the data folder.")
        path = str(sources.folder_file(name)) if name else kept
    if source == "upload":
        sent = upload("Table", [s[1:] for s in SUFFIXES], key=held.key("lengths-upload"))
        path = str(sent[1]) if sent else kept
    if source == "kept" and kept:
        st.caption(f"Read from {plain(sources.describe_path(kept))}.")
    held.set_section("prepare", gene_lengths=path)
    if path != kept:
        st.rerun()
