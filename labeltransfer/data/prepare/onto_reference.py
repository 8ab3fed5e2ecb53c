"""From a query file to ``prepared.h5ad`` for a published reference, whose cells were prepared when it was trained.

The models know the genes that the reference was trained on, and no others. Those that the query lacks are counted,
reported, and are zeros in its cells, as scvi-tools' ``prepare_query_anndata`` pads them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.intake import gene_finding
from labeltransfer.data.prepare.cell_table import join, side_summary
from labeltransfer.data.prepare.prepared import gene_counts, read_cells, read_genes
from labeltransfer.data.prepare.side_counts import Progress, add_side_counts
from labeltransfer.data.prepare.sides import read_side
from labeltransfer.data.prepare.without_counts import set_aside, totals_in
from labeltransfer.errors import InputError
from labeltransfer.params import RunParams
from labeltransfer.storage.files import read_json, write_json
from labeltransfer.storage.h5ad import new_h5ad, write_anndata
from labeltransfer.storage.sparse import OutOfCoreTranspose, SparseWriter
from labeltransfer.strata import stratified
from labeltransfer.units import counted

N_BLOCK = 256
"""Genes of the reference in memory at a time."""


def prepare_query(
    params: RunParams, reference: Path, folder: Path, *, report: Callable[[str], None], progress: Progress
) -> None:
    """Carry out the first stage of a run that maps its query onto a published reference.

    Writes the same as :func:`.prepare.prepare`. Genes, in the reference's order, are those that both have and those of
    the models that the query lacks; ``var["padded"]`` marks these.

    Parameters
    ----------
    params
        Settings of the run; those of ``query`` and ``prepare`` are used.
    reference
        Folder with the published reference's ``prepared.h5ad`` and ``summary.json``.
    folder, report, progress
        As for :func:`.prepare.prepare`.

    Raises
    ------
    InputError
        The query's file cannot be used, or has too few of the models' genes.
    SettingsError
        The settings leave no cell of the query, or name what is not there.
    """
    steps: list[str] = []

    def note(sentence: str) -> None:
        steps.append(sentence)
        report(sentence)

    source = reference / "prepared.h5ad"
    genes = read_genes(source)
    chosen = genes.index[genes["highly_variable"]]
    read = read_side(
        params.query,
        "query",
        normalise=params.prepare.length_normalize == "query",
        length_table=params.prepare.gene_lengths,
        report=note,
    )
    found = gene_finding(chosen, read.genes)
    if found.severity == "error":
        raise InputError(f"{found.title}. {found.detail} {found.way_out}")
    note(found.detail)
    shared = genes.index[genes.index.isin(read.genes)]
    transpose = OutOfCoreTranspose(folder / "counts_by_cell", len(shared))
    try:
        totals = add_side_counts(
            read,
            shared,
            transpose,
            non_integer=params.query.non_integer,
            scratch=folder,
            report=note,
            progress=lambda share: progress(0.5 * share),
        )
        stored = read_cells(source)
        places = np.flatnonzero(genes.index.isin(read.genes) | genes["highly_variable"].to_numpy())
        stored["n_counts"], stored["n_counts_chosen"], stored["n_genes"] = _reference_totals(source, genes, places)
        n_values = int(stored["n_genes"].sum())
        stored = stored.drop(columns=["training_label", "trained_on"], errors="ignore")
        obs = join({"query": (read, totals)}, params, note, kept=stored)
        is_chosen = genes.loc[shared, "highly_variable"].to_numpy()
        obs.loc[obs["side"] == "query", "n_counts_chosen"] = totals_in(transpose, is_chosen)
        obs["trained_on"] = _trained_on(obs, params.prepare.max_query_cells, note)
        without = set_aside(obs, params.reference, n_chosen=len(chosen), report=note)
        progress(0.6)
        var = genes.iloc[places].assign(padded=lambda own: ~own.index.isin(shared))
        _write(folder / "prepared.h5ad", obs, var, (source, places, n_values), transpose, progress)
    finally:
        transpose.file.unlink(missing_ok=True)
    query = obs[obs["side"] == "query"]
    kept = read_json(reference / "summary.json")
    tallies: dict[str, dict[str, Any]] = {
        "reference": kept["reference"],
        "query": read.tally | side_summary(query) | {"n_trained_on": int(query["trained_on"].sum())} | without["query"],
        "genes": {
            "n_reference": len(genes),
            "n_query": len(read.genes),
            "n_shared": len(shared),
            "n_only_reference": len(genes) - len(shared),
            "n_only_query": len(read.genes) - len(shared),
            "n_chosen": len(chosen),
            "n_padded": int(var["padded"].sum()),
        },
    }
    write_json(folder / "summary.json", {**tallies, "steps": steps})


def _reference_totals(source: Path, genes: pd.DataFrame, places: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each reference cell: counts in the genes at some places, in the chosen ones, and genes with a count there.

    Three arrays of shape (n_cells,).
    """
    chosen = genes["highly_variable"].to_numpy()[places]
    sums, n_done = np.zeros((3, 1)), 0
    for block in _by_gene(source, places):
        is_chosen = np.repeat(chosen[n_done : n_done + block.shape[0]], np.diff(block.indptr))
        weights = (block.data, block.data * is_chosen, np.ones(block.nnz))
        sums = sums + [np.bincount(block.indices, weights=each, minlength=block.shape[1]) for each in weights]
        n_done += block.shape[0]
    n_counts, n_chosen, n_genes = sums
    # A cell without a count in what is left stays, since the models know it; nothing is divided by its zero.
    return np.maximum(n_counts, 1), n_chosen, n_genes.astype(np.int64)


def _by_gene(source: Path, places: np.ndarray) -> Iterator[sp.csr_matrix]:
    """The reference's counts of the genes at some places, a line a gene, some genes at a time."""
    for first in range(0, len(places), N_BLOCK):
        yield gene_counts(source, places[first : first + N_BLOCK]).T


def _trained_on(obs: pd.DataFrame, most: int, note: Callable[[str], None]) -> np.ndarray:
    """Mask of the cells that the models learnt from: the reference, and of the query as many as were asked for.

    Few weights learn in a mapping, those of the query's batches, so that each batch has its share is enough.
    """
    trained = np.ones(len(obs), bool)
    query = np.flatnonzero(obs["side"] == "query")
    if len(query) > most:
        batches = obs["batch"].cat.codes.to_numpy()[query]
        drawn = stratified(batches, most, np.random.default_rng(0), least=most // (4 * len(np.unique(batches))))
        trained[query] = False
        trained[query[drawn]] = True
        note(f"Mapping learns from {most:,} of {counted(len(query), 'query cell')}, drawn from every batch.")
    return trained


def _write(
    path: Path,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    reference: tuple[Path, np.ndarray, int],
    transpose: OutOfCoreTranspose,
    progress: Progress,
) -> None:
    """Write the tables, then the counts gene by gene: the reference's cells, behind them the query's.

    ``reference`` is its file, the place there of each gene of ``var``, and its stored values in them.
    """
    source, places, n_stored = reference
    at = np.flatnonzero(~var["padded"].to_numpy())  # of each shared gene, its place in ``var``
    nothing = sp.csr_matrix((1, transpose.n_minor), dtype=np.float32)
    with new_h5ad(path) as (file, check):
        write_anndata(ad.AnnData(obs=obs, var=var), file)
        n_values = n_stored + transpose.n_values
        writer = SparseWriter(file, "layers/counts", layout="csc", shape=(len(obs), len(var)), n_values=n_values)
        n_done = 0
        for begin, lines in transpose.slices():
            n_lines = lines.shape[0]
            stop = at[begin + n_lines] if begin + n_lines < len(at) else len(var)
            rows = np.full(stop - n_done, n_lines)  # those of padded genes are empty
            rows[at[begin : begin + n_lines] - n_done] = np.arange(n_lines)
            with_padding = sp.vstack([lines, nothing], format="csr")[rows]
            n_before = n_done
            for own in _by_gene(source, places[n_before:stop]):
                first = n_done - n_before
                writer.append(sp.hstack([own, with_padding[first : first + own.shape[0]]], format="csr"))
                n_done += own.shape[0]
                check()
                progress(0.6 + 0.4 * n_done / len(var))
        writer.finish()
