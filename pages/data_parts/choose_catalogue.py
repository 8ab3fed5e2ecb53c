"""A data set of the catalogue: choose its cells before they are fetched, or download it whole."""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from labeltransfer.data import intake
from labeltransfer.data.catalogue import background
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry
from labeltransfer.data.catalogue.fetch_request import FILE, TABLE, FetchRequest, cells, local_path, target
from labeltransfer.data.catalogue.remote_table import RemoteTable, read_source, read_table
from labeltransfer.params import Side
from pages.data_parts.filters import filter_boxes
from pages.door.sign_in import fragment
from pages.shared import words
from pages.shared.cached import reader, the_path
from pages.shared.draft import Draft
from pages.shared.frame import catching

TABLE_BYTES_PER_CELL = 100
"""What a cell takes in a table of cells, roughly; shown before its first byte has arrived."""
MOST_OF_IT = 0.7
"""Share of a file above which fetching cells is hardly worth it: a whole download resumes, and is done once."""


def choose_catalogue(side: Side, held: Draft) -> dict[str, Any] | None:
    """Show the choice of a data set; returns the settings of the side once its cells are here."""
    keys = list(CATALOGUE)
    kept = held.notes.get(f"{side}_entry")
    wanted = kept or next((k for k in keys if CATALOGUE[k].full_length == (side == "reference")), keys[0])
    key = st.selectbox(
        "Data set",
        keys,
        index=keys.index(wanted) if wanted in keys else 0,
        format_func=lambda k: CATALOGUE[k].title,
        key=held.key(f"{side}-entry"),
    )
    entry = CATALOGUE.get(key)
    if entry is None:
        return None
    held.note(**{f"{side}_entry": key})
    n_cells, n_genes = entry.shape
    st.caption(f"{entry.description} {n_cells:,} cells, {n_genes:,} genes, {words.size(entry.n_bytes)}.")
    tutorial = {column: list(values) for column, values in entry.tutorial_filters.items()}
    if background.is_fetched(local_path(entry)):
        return _settings(entry, local_path(entry), tutorial)
    if background.is_fetched(target(entry, TABLE)):
        return _chosen_cells(side, held, entry, held.notes.get(f"{side}_wanted", {}).get(key, tutorial))
    about = words.size(TABLE_BYTES_PER_CELL * n_cells)
    _offer(side, held, entry, [(TABLE, f"Choose cells first (about {about})"), (FILE, _whole(entry))])
    st.caption(
        "Choosing first reads the table of cells alone; afterwards only the cells that you want are fetched.",
    )
    return None


def _settings(entry: CatalogueEntry, path: Path, filters: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "path": str(path),
        "technology": entry.technology,
        "labels_key": entry.labels_key,
        "filters": filters,
    }


def _chosen_cells(
    side: Side, held: Draft, entry: CatalogueEntry, wanted: dict[str, list[str]]
) -> dict[str, Any] | None:
    """Filters over the table of cells, what they would cost, and the cells once they are here."""
    request = cells(wanted)
    path = target(entry, request)
    table = _table(target(entry, TABLE))
    if background.is_fetched(path) and not held.notes.get(f"{side}_choosing"):
        _say_what_was_saved(path, table)
        if st.button("Fetch other cells", icon=":material/tune:", key=f"other-{side}"):
            held.note(**{f"{side}_choosing": True})
            st.rerun()
        return _settings(entry, path, wanted)
    if background.fetch_progress(entry, request).active or background.fetch_progress(entry).active:
        said = "; ".join(f"{column} = {' or '.join(values)}" for column, values in request.filters)
        st.caption(f"Cells to fetch: {words.plain(said)}.")
        _offer(side, held, entry, [(request, ""), (FILE, "")])
        return None
    with st.container(border=True):
        st.markdown("**Cells to fetch**", help="Filters over the whole data set; only these cells are fetched.")
        first = ((entry.tissue_key, "Tissue"), (entry.sex_key, "Sex"))
        wanted = filter_boxes(table.obs, first, wanted, lambda name: held.key(f"{side}-remote-{name}-{entry.key}"))
        held.note(**{f"{side}_wanted": {**held.notes.get(f"{side}_wanted", {}), entry.key: wanted}})
        request = cells(wanted)
        mask = intake.filter_rows(table.obs, wanted)
        n_bytes = _say_what_it_costs(entry, table, mask)
        if background.is_fetched(target(entry, request)):
            if st.button(f"Use these {mask.sum():,} cells", icon=":material/check:", key=f"use-{side}"):
                held.note(**{f"{side}_choosing": False})
                st.rerun()
            return None
        offers = [(FILE, _whole(entry))]
        if wanted and mask.any():
            offers = [(request, f"Fetch {mask.sum():,} cells (about {words.size(n_bytes)})"), *offers]
        _offer(side, held, entry, offers)
    return None


@reader(the_path, max_entries=4, shared=True, spinner="Reading the table of cells.")
def _table(path: Path) -> RemoteTable:
    return read_table(path)


def _say_what_it_costs(entry: CatalogueEntry, table: RemoteTable, mask: np.ndarray) -> int:
    """Say how many cells these are and what fetching them takes; returns the bytes."""
    n_total = table.version.n_total or entry.n_bytes
    n_bytes = min(table.needed_bytes(mask), n_total)
    labels = table.obs.loc[mask, entry.labels_key]
    n_labels = int(labels[~intake.is_unlabelled(labels)].nunique()) if mask.any() else 0
    st.markdown(
        f"**{mask.sum():,} of {len(mask):,} cells**, {n_labels:,} labels: about **{words.size(n_bytes)}** instead of "
        f"{words.size(n_total)}."
    )
    if n_bytes > MOST_OF_IT * n_total:
        st.caption("That is most of the file: downloading all takes hardly longer, and can be resumed.")
    return n_bytes


def _say_what_was_saved(path: Path, table: RemoteTable) -> None:
    source = _source(path)
    if not source:
        return
    n_received, n_bytes = int(source["n_received"]), int(source["n_bytes"])
    saved = max(0, n_bytes - n_received)
    st.caption(
        f":material/cloud_done: Fetched in part: {words.size(n_received)} came instead of {words.size(n_bytes)}, "
        f"{saved / n_bytes:.0%} less. Choosing took {words.size(table.n_received)}."
    )


@reader(the_path, max_entries=16)
def _source(path: Path) -> dict[str, Any]:
    return read_source(path)


def _whole(entry: CatalogueEntry) -> str:
    now = background.fetch_progress(entry)
    if now.n_done:
        return f"Resume at {words.size(now.n_done)} of {words.size(now.n_total or entry.n_bytes)}"
    return f"Download all {words.size(entry.n_bytes)}"


def _offer(side: Side, held: Draft, entry: CatalogueEntry, offers: list[tuple[FetchRequest, str]]) -> None:
    """Offer what can be fetched, or show how far it is."""
    active = next((request for request, _ in offers if background.fetch_progress(entry, request).active), None)

    @fragment(run_every=1.0 if active else None)
    def progress() -> None:
        now = {request: background.fetch_progress(entry, request) for request, _ in offers}
        is_running = next((request for request in now if now[request].active), None)
        if is_running != active or any(seen.state == "done" for seen in now.values()):
            st.rerun(scope="app")
        if active:
            _show_progress(now[active], entry, active)
            if st.button("Stop the download", icon=":material/pause:", key=f"stop-{side}"):
                background.cancel_fetch(entry, active)
            return
        for seen in now.values():
            if seen.error:
                st.error(words.plain(seen.error), icon=":material/cloud_off:")
        with st.container(horizontal=True):
            for request, label in offers:
                icon = ":material/table_view:" if request == TABLE else ":material/download:"
                if st.button(label, icon=icon, key=f"fetch-{side}-{request.what}"):
                    with catching():
                        background.start_fetch(entry, request)
                        held.note(**{f"{side}_choosing": False})
                        st.rerun(scope="app")

    progress()


def _show_progress(now: background.FetchProgress, entry: CatalogueEntry, request: FetchRequest) -> None:
    foreseen = {"file": entry.n_bytes, "table": TABLE_BYTES_PER_CELL * entry.shape[0]}
    total = now.n_total or foreseen.get(request.what)  # what chosen cells take is known a moment after the start
    about = "" if request == FILE else "about "
    left = f", about {words.duration(now.remaining_seconds)} left" if now.remaining_seconds is not None else ""
    text = words.size(now.n_done) + (f" of {about}{words.size(total)}{left}" if total else " so far")
    if request == FILE and now.n_total is not None and now.n_done >= now.n_total:
        text = "Verifying what has arrived"
    what = {"file": "", "table": "Table of cells: ", "cells": "Cells: "}[request.what]
    st.progress(min(now.n_done / total, 1.0) if total else 0.0, text=what + text)
    resumed = ", and a broken connection is resumed where it stopped" if request == FILE else ""
    st.caption(f"Leaving is safe: the download goes on{resumed}.")
