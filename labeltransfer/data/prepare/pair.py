"""From two files to ``prepared.h5ad``: filtered, brought to integer counts over shared genes, joined, genes chosen.

Counts are read in blocks of cells and lie in a file until they are written by gene; in memory are at any time one block
of them and, while genes are chosen, those of the cells trained on.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.genes.selection import check_enough, choose_genes, shared_genes, what_few_genes_mean
from labeltransfer.data.prepare.cell_table import SIDES, join, side_summary
from labeltransfer.data.prepare.query_sample import draw_cells, mean_profiles
from labeltransfer.data.prepare.side_counts import CellTotals, Progress, add_side_counts, counts_of
from labeltransfer.data.prepare.sides import SideCells, read_side
from labeltransfer.data.prepare.without_counts import set_aside, totals_in
from labeltransfer.params import PrepareParams, RunParams, Side
from labeltransfer.storage.files import write_json
from labeltransfer.storage.h5ad import new_h5ad, write_anndata
from labeltransfer.storage.sparse import OutOfCoreTranspose, SparseWriter


def _keep_quiet(share: float) -> None:
    pass


def prepare(
    params: RunParams, folder: Path, *, report: Callable[[str], None], progress: Progress = _keep_quiet
) -> None:
    """Carry out the first stage of a run.

    Writes ``prepared.h5ad`` (see ``prepared``) and ``summary.json``, which holds plain counts of what was used and what
    was left out on the ``reference``, the ``query`` and among the ``genes``, and as ``steps`` all that was reported.

    Parameters
    ----------
    params
        Settings of the run; those of ``reference``, ``query`` and ``prepare`` are used.
    folder
        Where the two files go. Meanwhile the counts lie in it once more.
    report
        Called with a plain sentence at each step.
    progress
        Called often with the share that is done, in [0, 1]; may raise to stop.

    Raises
    ------
    InputError
        A file cannot be used as it is.
    SettingsError
        The settings leave too little, or name what is not there.
    OSError
        The disk is full.
    """
    steps: list[str] = []

    def note(sentence: str) -> None:
        steps.append(sentence)
        report(sentence)

    sides = SIDES[:1] if params.reference_alone else SIDES
    read: dict[Side, SideCells] = {
        side: read_side(
            params.reference if side == "reference" else params.query,
            side,
            normalise=params.prepare.length_normalize == side,
            length_table=params.prepare.gene_lengths,
            report=note,
        )
        for side in sides
    }
    genes = read["reference"].genes
    if params.reference_alone:
        check_enough(genes)
    else:
        genes = shared_genes(genes, read["query"].genes)
    n_of = {side: len(read[side].genes) for side in sides}
    n_only = {f"n_only_{side}": n_of[side] - len(genes) for side in sides}
    if not params.reference_alone:
        note(
            f"{len(genes):,} genes are shared; {n_only['n_only_reference']:,} of the reference and "
            f"{n_only['n_only_query']:,} of the query are left out."
        )
    if few := what_few_genes_mean(len(genes)):
        note(few)
    transpose = OutOfCoreTranspose(folder / "counts_by_cell", len(genes))
    try:
        obs, lengths = _gather(read, genes, transpose, params, note, progress)
        tallies: dict[str, dict[str, Any]] = {side: read[side].tally for side in sides}
        tallies["genes"] = {f"n_{side}": n_of[side] for side in sides} | {"n_shared": len(genes)} | n_only
        del read
        obs["trained_on"] = _trained_on(obs, transpose, params.prepare, note, progress)
        progress(0.6)
        var, ranking = _choose(obs, genes, transpose, params.prepare, note)
        chosen = var["highly_variable"].to_numpy()
        obs["n_counts_chosen"] = obs["n_counts"] if chosen.all() else totals_in(transpose, chosen)
        for side, tally in set_aside(obs, params.reference, n_chosen=int(chosen.sum()), report=note).items():
            tallies[side] |= tally
        var["gene_length"] = np.nan if lengths is None else lengths.reindex(genes).to_numpy()
        progress(0.8)
        _write(folder / "prepared.h5ad", obs, var, transpose, progress)
    finally:
        transpose.file.unlink(missing_ok=True)
    tallies["genes"] |= {"n_chosen": int(chosen.sum()), "ranking": ranking}
    for side in sides:
        own = obs[obs["side"] == side]
        tallies[side] |= side_summary(own) | {"n_trained_on": int(own["trained_on"].sum())}
    write_json(folder / "summary.json", {**tallies, "steps": steps})


def _gather(
    read: dict[Side, SideCells],
    genes: pd.Index,
    transpose: OutOfCoreTranspose,
    params: RunParams,
    note: Callable[[str], None],
    progress: Progress,
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Read both sides' counts; returns the table of cells and the gene lengths, if any."""
    n_cells = sum(len(cells.rows) for cells in read.values())
    found: dict[Side, tuple[SideCells, CellTotals]] = {}
    n_before = 0
    for side, cells in read.items():

        def within(share: float, begin: int = n_before, n_own: int = len(cells.rows)) -> None:
            progress(0.5 * (begin + share * n_own) / n_cells)

        non_integer = (params.reference if side == "reference" else params.query).non_integer
        totals = add_side_counts(
            cells,
            genes,
            transpose,
            non_integer=non_integer,
            scratch=transpose.file.parent,
            report=note,
            progress=within,
        )
        found[side] = cells, totals
        n_before += len(cells.rows)
    lengths = [cells.gene_lengths for cells in read.values() if cells.gene_lengths is not None]
    return join(found, params, note), lengths[0] if lengths else None


def _trained_on(
    obs: pd.DataFrame,
    transpose: OutOfCoreTranspose,
    params: PrepareParams,
    note: Callable[[str], None],
    progress: Progress,
) -> np.ndarray:
    """Mask of the cells that the models are trained on: the reference, and of the query as many as were asked for."""
    trained = np.ones(len(obs), bool)
    n_reference = int((obs["side"] == "reference").sum())
    n_query = len(obs) - n_reference
    if n_query <= params.max_query_cells:
        return trained

    def blocks(side: Side) -> Iterator[sp.csc_matrix]:
        for first, piece in transpose.pieces():
            progress(0.5)  # how far it is would take counting the passes; to be stopped is what matters
            if (first < n_reference) == (side == "reference"):
                yield piece.T

    labels = obs["observed_label"].iloc[:n_reference].cat.remove_unused_categories().cat.codes.to_numpy()
    profiles = mean_profiles(lambda: blocks("reference"), labels)
    batches = obs["batch"].cat.codes.to_numpy()[n_reference:]
    trained[n_reference:] = draw_cells(lambda: blocks("query"), batches, profiles, most=params.max_query_cells)
    note(
        f"Training on {int(trained[n_reference:].sum()):,} of {n_query:,} query cells, drawn from every batch and "
        f"every kind of cell, rare ones included; all {n_query:,} are labelled."
    )
    return trained


def _choose(
    obs: pd.DataFrame,
    genes: pd.Index,
    transpose: OutOfCoreTranspose,
    params: PrepareParams,
    note: Callable[[str], None],
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """The table of genes, chosen on the cells that are trained on, and how they were ranked."""
    trained = obs["trained_on"].to_numpy()
    own = obs[trained]
    groups = own[params.hvg_batch] if params.hvg_batch != "none" else pd.Series("all", index=own.index)
    counts = counts_of(transpose, trained, obs["n_genes"].to_numpy())
    return choose_genes(counts, genes, groups, n_top_genes=params.n_top_genes, hvg_batch=params.hvg_batch, report=note)


def _write(path: Path, obs: pd.DataFrame, var: pd.DataFrame, transpose: OutOfCoreTranspose, progress: Progress) -> None:
    """Write the tables, then the counts some genes at a time."""
    with new_h5ad(path) as (file, check):
        write_anndata(ad.AnnData(obs=obs, var=var), file)
        shape = (len(obs), len(var))
        writer = SparseWriter(file, "layers/counts", layout="csc", shape=shape, n_values=transpose.n_values)
        for first, lines in transpose.slices():
            writer.append(lines)
            check()
            progress(0.8 + 0.2 * first / len(var))
        writer.finish()
