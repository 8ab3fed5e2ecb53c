"""The input report: what is in a file, what is wrong with it, and the way out of each trouble, in plain words."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from labeltransfer.data.genes.names import are_ensembl, name_columns
from labeltransfer.data.intake.columns import MAX_LABELS, UNLABELLED, guess, is_unlabelled
from labeltransfer.data.intake.finding import NOTHING_TO_DO, Finding
from labeltransfer.data.intake.summary import Summary, full_length
from labeltransfer.params import Side
from labeltransfer.units import named, shorten

RARE = 10
"""Fewer cells than this make a label rare."""

_ORDER = {"error": 0, "warning": 1, "note": 2}
_SAVE_COUNTS = "Save the file with its raw counts in layers['counts'], or get the raw version from its source."


def inspect(
    summary: Summary, *, side: Side = "reference", labels_key: str | None = None, rows: np.ndarray | None = None
) -> list[Finding]:
    """Report on one file.

    Parameters
    ----------
    summary
        From ``read_summary``.
    side
        What the file is to be: a reference needs labels, a query may have them.
    labels_key
        obs column with the cell types; None takes the one that looks like it.
    rows
        Mask of shape (n_cells,), the cells that the filters keep; None for all.

    Returns
    -------
    Findings, the worst first. Only what is there is reported; a clean file gives a few notes on what was found.
    """
    obs = summary.obs if rows is None else summary.obs[rows]
    if not len(obs):
        detail = f"None of {summary.n_cells:,} cells passes the filters of the {side}."
        return [Finding("error", "No cells are left", detail, "Widen the filters.")]
    key = labels_key or guess(summary).labels_key
    found = [*_size(summary, len(obs)), *_values(summary), *_empty_cells(summary), *_names(summary)]
    found += [*_labels(obs, key, side, summary.path.name), *_batches(summary), *_protocol(summary)]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def _size(summary: Summary, n_cells: int) -> Iterator[Finding]:
    chosen = f" The filters keep {n_cells:,} cells." if n_cells < summary.n_cells else ""
    detail = f"{summary.path.name} holds {summary.n_cells:,} cells and {summary.n_genes:,} genes.{chosen}"
    yield Finding("note", f"{n_cells:,} cells, {summary.n_genes:,} genes", detail, NOTHING_TO_DO)


def _values(summary: Summary) -> Iterator[Finding]:
    place, data = summary.counts, summary.sample.data
    sampled = f"in a sample of {summary.sample.shape[0]:,} cells"
    elsewhere = [p for p in summary.places if summary.kinds[p] == "counts" and p != place]
    way_out = f"Choose {elsewhere[0]} as the place of raw counts." if elsewhere else _SAVE_COUNTS
    n_invalid, n_negative = int((~np.isfinite(data)).sum()), int((data < 0).sum())
    values = data[np.isfinite(data) & (data != 0)]
    totals, whole_cells = np.asarray(summary.sample.sum(axis=1)).ravel(), summary.sample_share == 1
    if n_invalid or summary.kind == "invalid":
        detail = f"{n_invalid:,} values {sampled} are NaN or infinite." if n_invalid else "Some are NaN or infinite."
        yield Finding("error", f"{place} has values that are no numbers", detail, way_out)
    if n_negative or summary.kind == "scaled":
        detail = f"{n_negative:,} values {sampled} are below zero, as after centring and scaling; counts never are."
        yield Finding("error", f"{place} has negative values", detail, way_out)
    elif summary.kind == "log":
        detail = f"Non-zero values {sampled} reach from {values.min():.2f} to {values.max():.2f} with decimals."
        yield Finding("error", f"{place} looks log-transformed", detail, way_out)
    elif summary.kind == "empty" and not len(values):
        yield Finding("error", f"{place} holds only zeros", f"All values {sampled} are zero.", way_out)
    elif len(values) and (share := float((values != np.rint(values)).mean())) > 0:
        if whole_cells and len(totals) > 2 and totals.std() < 1e-3 * totals.mean():
            detail = f"Each cell {sampled} adds up to {totals.mean():,.0f}: counts were scaled to one library size."
            yield Finding("error", f"{place} is normalised by library size", detail, way_out)
        else:
            detail = f"{share:.0%} of non-zero values {sampled} have decimals, as estimated or corrected counts have."
            choose = f"Choose {elsewhere[0]} as the place of raw counts, or " if elsewhere else ""
            choose += "round them: set 'Non-integer counts' to round."
            yield Finding("warning", f"{place} is not whole counts", detail, choose[0].upper() + choose[1:])
    elif not n_invalid:
        detail = f"Values {sampled} are whole numbers, {summary.depth:,.0f} in the median cell."
        others = [f"{p} ({_KINDS[summary.kinds[p]]})" for p in summary.places if p != place]
        detail += f" There are also {shorten(others)}." if others else ""
        yield Finding("note", f"Raw counts are in {place}", detail, NOTHING_TO_DO)


_KINDS = {
    "counts": "whole numbers",
    "estimates": "numbers with decimals",
    "log": "log-transformed values",
    "scaled": "values below zero",
    "invalid": "values that are no numbers",
    "empty": "zeros",
}


def _empty_cells(summary: Summary) -> Iterator[Finding]:
    n_empty, n_sampled = int((abs(summary.sample).max(axis=1).toarray() == 0).sum()), summary.sample.shape[0]
    # Where the sample lacks genes, a cell may have its counts in those.
    if 0 < n_empty < n_sampled and summary.sample_share == 1:
        detail = f"{n_empty:,} of {n_sampled:,} sampled cells have no counts at all."
        yield Finding("warning", "Some cells are empty", detail, "The app leaves such cells out and says how many.")


def _names(summary: Summary) -> Iterator[Finding]:
    genes, cells = summary.var.index, summary.obs.index
    if n_twice := int(genes.duplicated().sum()):
        examples = shorten(genes[genes.duplicated()].unique(), 3)
        detail = f"{n_twice:,} of {len(genes):,} genes repeat a name, such as {examples}."
        way_out = "The app keeps the first gene of each name and leaves the others out; rename them to keep all."
        yield Finding("warning", "Duplicate gene names", detail, way_out)
    if n_twice := int(cells.duplicated().sum()):
        examples = shorten(cells[cells.duplicated()].unique(), 3)
        detail = f"{n_twice:,} of {len(cells):,} cells repeat a name, such as {examples}."
        way_out = "The app adds -1, -2 and so on to tell them apart; results keep the original name as cell_id."
        yield Finding("warning", "Duplicate cell names", detail, way_out)
    if are_ensembl(genes):
        columns = name_columns(summary.var)
        mapping = f" (var has {shorten(columns, 3)})" if columns else ""
        detail = f"Genes are named by Ensembl ids, such as {named(genes[0])}; charts will show these."
        way_out = f"Fine where the other file has them too; else choose a var column as gene names{mapping}."
        yield Finding("note", "Ensembl gene ids", detail, way_out)


def _labels(obs: pd.DataFrame, key: str | None, side: Side, name: str) -> Iterator[Finding]:
    if key is None or key not in obs:
        if key is None and side == "query":
            return
        title = f"No column '{key}'" if key else "No column with cell types"
        detail = f"{name} has these obs columns: {shorten(obs.columns)}."
        yield Finding("error", title, detail, "Choose the obs column that holds the cell types.")
        return
    labels, without = obs[key], is_unlabelled(obs[key])
    counts = labels[~without].astype(str).value_counts()
    if not len(counts):
        detail = f"All {len(obs):,} cells are without a label in '{key}'."
        if side == "reference":
            way_out = "Choose another column or widen the filters."
            yield Finding("error", f"No cell has a label in {key}", detail, way_out)
        else:
            yield Finding("note", f"No cell has a label in {key}", detail, "They get predictions, but no scores.")
        return
    if len(counts) == 1 and side == "reference":
        detail = f"All labelled cells are '{named(counts.index[0])}'; scANVI needs at least 2 labels."
        yield Finding("error", f"{key} has one label only", detail, "Choose another column or widen the filters.")
    elif len(counts) > min(MAX_LABELS, max(2, len(obs) // 2)):
        detail = f"{len(counts):,} different values in {len(obs):,} cells are rather identifiers or measurements."
        yield Finding("error", f"{key} does not look like labels", detail, "Choose the column with the cell types.")
        return
    else:
        detail = f"'{key}' labels {counts.sum():,} of {len(obs):,} cells: {shorten(counts.index, 5)}."
        yield Finding("note", f"{len(counts):,} labels in {key}", detail, NOTHING_TO_DO)
    yield from _missing_labels(labels, without, side)
    if isinstance(labels.dtype, pd.CategoricalDtype):
        used = set(labels.dropna().unique())
        unused = [category for category in labels.cat.categories if category not in used]
        if unused:
            detail = f"{len(unused):,} categories of '{key}' have no cells here: {shorten(unused, 5)}."
            yield Finding("note", "Unused categories", detail, "Nothing to do: the app ignores them.")
    rare = counts[counts < RARE]
    if len(rare) and side == "reference":
        detail = "Fewer than 10 cells: " + shorten([f"{named(label)} ({n})" for label, n in rare.items()], 8) + "."
        way_out = "Their predictions are unreliable: widen the filters, merge them with a sister label, or mind them."
        yield Finding("warning", f"{len(rare):,} rare labels" if len(rare) > 1 else "A rare label", detail, way_out)


def _missing_labels(labels: pd.Series, without: np.ndarray, side: Side) -> Iterator[Finding]:
    n_all, n_missing = len(labels), int(without.sum())
    if not n_missing:
        return
    spelt = sorted({str(v) for v in labels[without].dropna().unique() if str(v).strip().lower() in UNLABELLED})
    spelling = f" (NaN, empty or {shorten(repr(s) for s in spelt)})" if spelt else ""
    detail = f"{n_missing:,} of {n_all:,} cells have no label{spelling}."
    if side == "query":
        yield Finding("note", "Cells without a label", detail, "They get predictions too, unless you leave them out.")
    else:
        yield Finding("warning", "Cells without a label", detail, "They are left out of the reference.")
    real = [s for s in spelt if s.strip().lower() == "unknown"]
    if real:
        n_unknown = int((labels.astype(str) == real[0]).sum())
        spelt_so = named(real[0])
        detail = (
            f"{n_unknown:,} cells are labelled '{spelt_so}', scANVI's own word for a cell that waits for its label."
        )
        way_out = "The app treats them as unlabelled; rename the label in the file if it means a cell type."
        yield Finding("warning", f"A label named {spelt_so}", detail, way_out)


def _batches(summary: Summary) -> Iterator[Finding]:
    columns = guess(summary).batch
    if columns:
        listed = shorten([f"{c} ({summary.obs[c].nunique():,} values)" for c in columns], 5)
        way_out = "Choose one as batch column if its groups were measured apart; scVI then evens them out."
        yield Finding("note", "Columns that may mark batches", f"In obs: {listed}.", way_out)


def _protocol(summary: Summary) -> Iterator[Finding]:
    if full_length(summary):
        depth = f"{summary.depth:,.0f} counts in the median cell"
        detail = f"{depth} and few genes with just one, as Smart-seq2 reads have."
        way_out = "Normalise this file by gene length where the other one counts UMIs."
        yield Finding("note", "Looks like full-length data", detail, way_out)
