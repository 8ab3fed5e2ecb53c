"""One side of the transfer: its wanted cells, their labels and batches, and their counts by gene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.data.genes.lengths import read_gene_lengths
from labeltransfer.data.genes.selection import hardly_any
from labeltransfer.data.intake import Summary, filter_rows, gene_index, is_unlabelled, read_summary
from labeltransfer.data.prepare.counts import Report
from labeltransfer.errors import InputError, SettingsError
from labeltransfer.params import UNKNOWN, Side, SideParams
from labeltransfer.units import counted, named, shorten


@dataclass(frozen=True)
class SideCells:
    """The cells of one side that are to be used, and where in its file their counts are.

    ``rows`` are the cells' places in the file, ascending, and ``obs`` what it says of them, shape (n_cells, n_columns),
    indexed by cell name; ``labels`` are strings or None and ``batches`` strings, both of shape (n_cells,). ``genes``
    are unique and are the ``columns`` of the counts at ``place``. ``gene_lengths`` are those that the counts are to
    be divided by, None where they are not. ``tally`` counts what was left out.
    """

    side: Side
    path: Path
    place: str
    rows: np.ndarray
    obs: pd.DataFrame
    labels: np.ndarray
    batches: np.ndarray | None
    genes: pd.Index
    columns: np.ndarray
    gene_lengths: pd.Series | None
    tally: dict[str, Any]


def read_side(
    params: SideParams, side: Side, *, normalise: bool, length_table: str | None, report: Report
) -> SideCells:
    """Find the wanted cells and the usable genes of one file; its counts are not read yet.

    Parameters
    ----------
    params
        Which file, cells, columns and counts.
    side
        "reference" needs a label on each cell; the "query" may have any.
    normalise
        Divide the counts by gene length; ``length_table`` is then the table, None for the tutorial's.
    report
        Called with a sentence for each thing that the user should know.

    Raises
    ------
    InputError
        The file cannot be used.
    SettingsError
        A column or filter value is missing, no cell is left, or the reference has fewer than 2 labels.
    """
    summary = read_summary(params.path, counts=params.counts)
    rows, labels, tally = choose_cells(summary.obs, params, side, report)
    obs = summary.obs.iloc[rows]
    batches = _batches(obs, params, side, report)
    if summary.counts != "X":
        report(f"The raw counts of the {side} are read from {summary.counts}.")
    tally |= {"file": summary.path.name, "counts": summary.counts, "n_genes_in_file": summary.n_genes}
    genes, columns = _named_once(summary, params, side, tally, report)
    lengths = None
    if normalise:
        table = read_gene_lengths(length_table, report=report)
        genes, columns, lengths = _with_length(genes, columns, table, side, tally, report)
    return SideCells(side, summary.path, summary.counts, rows, obs, labels, batches, genes, columns, lengths, tally)


def check_side(obs: pd.DataFrame, params: SideParams, side: Side) -> None:
    """Raise what ``read_side`` would over columns, filters and labels, from the table of cells alone.

    Raises
    ------
    SettingsError
        See ``read_side``.
    """

    def keep_quiet(sentence: str) -> None:
        pass

    rows, _, _ = choose_cells(obs, params, side, keep_quiet)
    _batches(obs.iloc[rows], params, side, keep_quiet)


def choose_cells(
    obs: pd.DataFrame, params: SideParams, side: Side, report: Report
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Row numbers of the wanted cells, their labels (None where there is none) and a tally of those left out."""
    try:
        wanted = filter_rows(obs, params.filters)
    except SettingsError as error:
        raise SettingsError(f"Filter of the {side}: {error}") from error
    where = _where(params)
    if not wanted.any():
        raise SettingsError(f"No cell of the {side} is left{where}: widen the filters.")
    n_filtered = int(wanted.sum())
    tally: dict[str, Any] = {"n_cells_in_file": len(obs), "n_cells_after_filters": n_filtered}
    report(f"{n_filtered:,} of {len(obs):,} cells of the {side} are left{where or ' (no filter)'}.")
    labels = np.full(len(obs), None, dtype=object)
    if params.labels_key is not None:
        if params.labels_key not in obs:
            raise _no_column("labels_key", params.labels_key, obs, side)
        column = obs[params.labels_key]
        known = ~is_unlabelled(column)
        labels[known] = column.astype(object).to_numpy()[known].astype(str)
        called_unknown = int((wanted & (column.astype(object) == UNKNOWN).to_numpy()).sum())
        if called_unknown:
            report(f"Taken as unlabelled in the {side}: {counted(called_unknown, 'cell')} with label '{UNKNOWN}'.")
    elif side == "reference":
        raise SettingsError("The reference has no labels_key: choose the obs column that holds its cell types.")
    unlabelled = wanted & (labels == None)  # noqa: E711  elementwise
    n_unlabelled = int(unlabelled.sum())
    leave_out = side == "reference" or not params.keep_unlabelled
    tally |= {"n_unlabelled": n_unlabelled, "n_unlabelled_left_out": n_unlabelled if leave_out else 0}
    if leave_out:
        if n_unlabelled:
            report(f"Left out of the {side}: {counted(n_unlabelled, 'cell')} without a label.")
        wanted &= ~unlabelled
        if not wanted.any():
            raise SettingsError(
                f"No cell of the {side}{where} has a label in labels_key '{params.labels_key}': choose another column."
            )
    rows = np.flatnonzero(wanted)
    if side == "reference":
        check_labels(labels[rows], params)
    return rows, labels[rows], tally


def check_labels(labels: np.ndarray, params: SideParams) -> None:
    """Raise SettingsError where the reference has fewer than 2 labels: scANVI then fails deep inside."""
    n_labels = pd.Series(labels).nunique()
    if n_labels < 2:
        raise SettingsError(
            f"labels_key '{params.labels_key}' has {n_labels} label in the reference{_where(params)}; scANVI needs at "
            "least 2: widen the reference filter or choose another column."
        )


def _named_once(
    summary: Summary, params: SideParams, side: Side, tally: dict[str, Any], report: Report
) -> tuple[pd.Index, np.ndarray]:
    """Gene names, each once and none empty, and their columns of the counts."""
    names = pd.Index(gene_index(summary, params.gene_names))
    missing = np.asarray(names.isna()) | (names.astype(str).str.strip() == "")
    repeated = np.asarray(names.duplicated()) & ~missing
    tally |= {"n_unnamed_genes": int(missing.sum()), "n_repeated_genes": int(repeated.sum())}
    if missing.any():
        report(f"Left out of the {side}: {counted(int(missing.sum()), 'gene')} without a name.")
    if repeated.any():
        examples = ", ".join(map(named, names[repeated].unique()[:3]))
        n_repeated = counted(int(repeated.sum()), "gene")
        report(f"Left out of the {side}: {n_repeated} with a repeated name ({examples}); the first of each is kept.")
    columns = np.flatnonzero(~missing & ~repeated)
    return names[columns].astype(str), columns


def _with_length(
    genes: pd.Index, columns: np.ndarray, table: pd.Series, side: Side, tally: dict[str, Any], report: Report
) -> tuple[pd.Index, np.ndarray, pd.Series]:
    """Keep the genes that the table knows, matched by name."""
    lengths = table.reindex(genes)
    known = (lengths > 0).to_numpy()
    tally["n_genes_without_length"] = int((~known).sum())
    if hardly_any(int(known.sum()), len(genes)):
        ours, theirs = (", ".join(map(named, names[:3])) for names in (genes, table.index))
        n_known = f"Only {int(known.sum()):,}" if known.any() else "None"
        raise InputError(
            f"{n_known} of the {len(genes):,} genes of the {side} ({ours} …) are in the table of gene lengths "
            f"({theirs} …): choose another table, or gene names of the same kind."
        )
    lengths = lengths[known].astype(np.float64)
    report(
        f"The counts of the {side} are divided by gene length, scaled by the median length ({lengths.median():g}) and "
        f"rounded to integers; {int((~known).sum()):,} of {len(genes):,} genes have no length and are left out."
    )
    return genes[known], columns[known], lengths


def _batches(obs: pd.DataFrame, params: SideParams, side: Side, report: Report) -> np.ndarray | None:
    if params.batch_key is None:
        return None
    if params.batch_key not in obs:
        raise _no_column("batch_key", params.batch_key, obs, side)
    column = obs[params.batch_key]
    if column.isna().any():
        n_missing = counted(int(column.isna().sum()), "cell")
        report(f"Without a {params.batch_key} in the {side}: {n_missing}, which form a batch 'none'.")
    return column.astype(object).where(column.notna(), "none").astype(str).to_numpy(dtype=object)


def _no_column(setting: str, key: str, obs: pd.DataFrame, side: Side) -> SettingsError:
    """Error that names the columns that could be meant: those with a few repeated values."""
    candidates = [str(name) for name, column in obs.items() if 2 <= column.nunique() <= max(2, min(200, len(obs) // 2))]
    return SettingsError(
        f"{setting} '{key}' is no obs column of the {side}: choose one of its columns ({shorten(candidates)})."
    )


def _where(params: SideParams) -> str:
    """The filters in words, such as " after tissue = Marrow, sex = female"; empty without any."""
    said = [f"{key} = {' or '.join(map(named, values))}" for key, values in params.filters.items()]
    return f" after {', '.join(said)}" if said else ""
