"""The counts of one side over the shared genes: read in blocks, checked, normalised, and stored by gene."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.prepare.counts import CountCheck, Report, normalise_by_length
from labeltransfer.data.prepare.sides import SideCells
from labeltransfer.errors import SettingsError
from labeltransfer.formats import open_input
from labeltransfer.formats.blocks import count_blocks
from labeltransfer.storage.sparse import OutOfCoreTranspose
from labeltransfer.units import counted

Progress = Callable[[float], None]
"""Called often with the share of the work that is done, in [0, 1]; what it raises ends the work."""


@dataclass(frozen=True)
class CellTotals:
    """What the counts of one side say of its cells.

    ``kept``, shape (n_cells,), marks cells with a count in the shared genes. Of those, shape (n_kept,):
    ``n_counts_raw`` sums the counts as they came, over all genes; ``n_counts`` and ``n_genes`` count in shared genes.
    """

    kept: np.ndarray
    n_counts_raw: np.ndarray
    n_counts: np.ndarray
    n_genes: np.ndarray


def add_side_counts(
    cells: SideCells,
    genes: pd.Index,
    transpose: OutOfCoreTranspose,
    *,
    non_integer: str,
    scratch: Path,
    report: Report,
    progress: Progress,
) -> CellTotals:
    """Bring one side's counts into the form that the models need and add them to ``transpose``, block by block.

    Parameters
    ----------
    cells
        From ``sides.read_side``.
    genes
        Shared genes, the major axis of ``transpose``; the kept cells are its minor axis.
    transpose
        Takes the counts; cells without a count in ``genes`` are left out.
    non_integer
        "round" or "refuse".
    scratch
        Folder for temporary files.
    report, progress
        Called with sentences, and with the share that is done.

    Raises
    ------
    InputError
        The counts are none, or the file is damaged.
    SettingsError
        No cell has a count in the shared genes.
    """
    check = CountCheck(cells.side, non_integer, will_round=cells.gene_lengths is not None)
    at = cells.genes.get_indexer(genes)
    columns = cells.columns[at]
    lengths = None if cells.gene_lengths is None else cells.gene_lengths.to_numpy()
    raw, totals, widths = [], [], []
    n_done = 0
    with open_input(cells.path) as opened:
        for block in count_blocks(opened, cells.place, cells.rows, scratch=scratch):
            n_done += block.shape[0]
            block = check.take(block)
            raw.append(np.asarray(block.sum(axis=1, dtype=np.float64)).ravel())
            if columns.size < block.shape[1] or (np.diff(columns) < 0).any():
                block = block[:, columns]
            if lengths is not None:
                block = normalise_by_length(block, lengths[at], median=float(np.median(lengths)))
            n_counts = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
            totals.append(n_counts)
            widths.append(np.diff(block.indptr))
            transpose.add(_by_gene(block, n_counts > 0))
            progress(n_done / len(cells.rows))
    check.judge(report)
    found = CellTotals(*_kept(np.concatenate(raw), np.concatenate(totals), np.concatenate(widths)))
    n_empty = int((~found.kept).sum())
    cells.tally["n_empty_left_out"] = n_empty
    if n_empty:
        report(f"Left out of the {cells.side}: {counted(n_empty, 'cell')} without a count in the shared genes.")
    if not found.kept.any():
        raise SettingsError(
            f"No cell of the {cells.side} has a count in the {len(genes):,} shared genes: choose other raw counts."
        )
    return found


def _by_gene(block: sp.csr_matrix, kept: np.ndarray) -> sp.csr_matrix:
    """The same counts of the kept cells with a line a gene, shape (n_genes, n_kept)."""
    return (block if kept.all() else block[kept]).tocsc().T


def _kept(raw: np.ndarray, totals: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, ...]:
    kept = totals > 0
    return kept, raw[kept], totals[kept], widths[kept].astype(np.int64)


def counts_of(transpose: OutOfCoreTranspose, wanted: np.ndarray, n_genes: np.ndarray) -> sp.csr_matrix:
    """Counts of some cells, allocated once.

    Parameters
    ----------
    transpose
        Filled by ``add_side_counts``.
    wanted
        Mask of shape (n_cells,).
    n_genes
        Genes with a count in each cell, shape (n_cells,).

    Returns
    -------
    Matrix of shape (n_wanted, n_genes), CSR float32.
    """
    indptr = np.concatenate([[0], np.cumsum(n_genes[wanted])])
    data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
    at = 0
    for first, piece in transpose.pieces():
        own = wanted[first : first + piece.shape[1]]
        if own.any():
            block = piece.T.tocsr() if own.all() else piece.T.tocsr()[own]
            data[at : at + block.nnz], indices[at : at + block.nnz] = block.data, block.indices
            at += block.nnz
    return sp.csr_matrix((data, indices, indptr), shape=(int(wanted.sum()), transpose.n_major))
