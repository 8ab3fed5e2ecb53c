"""How long a tile of the confusion matrix takes to open, genes included: ``python -m benchmarks.speed.click``.

Writes finished runs without training and clicks on tiles never seen before, as :mod:`.pages` does: the server's time
from the click to the last element sent, without network and browser. Takes some three minutes on two cores, most
of it to write the runs.
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import h5py
import numpy as np
import streamlit as st

from benchmarks.load.finished_runs import finished_run
from benchmarks.speed.pages import Spent, click, milliseconds, spent, visit
from benchmarks.tables import keep, spread, table
from labeltransfer.params import Side
from labeltransfer.results.scores import evaluate
from labeltransfer.results.tile import groups
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from pages.compare_parts import tile_readers
from pages.shared import cached

SIZES = ((16_000, 20_000), (200_000, 2_000))
"""Cells and shared genes of each run."""

N_CHOSEN = 2_000
LIMIT = 500
"""Milliseconds that a click may take at 16,000 cells."""
N_CLICKS = 8
TITLE = "Behind a click: time to open a tile"
SIDE: Side = "query"


def choose_genes(run: Run, n_genes: int) -> None:
    """Leave ``N_CHOSEN`` genes chosen, spread over all as chosen ones are, so that reading skips the others."""
    chosen = np.zeros(n_genes, bool)
    chosen[np.random.default_rng(0).choice(n_genes, min(N_CHOSEN, n_genes), replace=False)] = True
    with h5py.File(run.artefacts.prepared, "r+") as file:
        file["var/highly_variable"][:] = chosen


def tiles(run: Run) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The largest tiles on which both labels agree, and the largest others."""
    counts = evaluate.confusion(cached.cells(run), side=SIDE).sort_values("n_cells", ascending=False)
    counts = counts[counts["n_cells"] > 0]
    same = counts["observed_label"] == counts["predicted_label"]
    agreeing, others = (
        list(zip(part["observed_label"], part["predicted_label"], strict=True))[:N_CLICKS]
        for part in (counts[same], counts[~same])
    )
    return agreeing, others


def measured(run: Run) -> Iterator[tuple[str, list[Spent]]]:
    """What was done, and the time of each try."""
    at = visit("compare", run)
    yield "the page opens, with the counts read at its end", [spent(at, at.run)]
    agreeing, others = tiles(run)
    yield "click on a tile of differing labels", [spent(at, partial(click, at, run, *tile)) for tile in others]
    yield "click on a tile of the diagonal", [spent(at, partial(click, at, run, *tile)) for tile in agreeing]
    yield "the same tile again", [spent(at, at.run) for _ in range(N_CLICKS)]
    st.cache_resource.clear()
    tile_readers.warm_up(run)
    yield "of it: comparing the genes", [milliseconds(partial(compare, run, *tile)) for tile in others]
    st.cache_resource.clear()
    cached.cells(run)
    yield "once a run: reading the counts", [milliseconds(partial(tile_readers.warm_up, run))]


def compare(run: Run, observed: str, predicted: str) -> None:
    """Compare the genes of a tile, as its page does at first."""
    source = groups.best_source(cached.cells(run), SIDE, observed, predicted)
    tile_readers.genes_of(run, SIDE, observed, predicted, source)


def rows(run: Run, n_cells: int, n_genes: int) -> Iterator[tuple[Any, ...]]:
    """Lines of the table."""
    for what, times in measured(run):
        clock, computing = ([getattr(one, name) for one in times] for name in ("clock", "computing"))
        yield f"{n_cells:,}", f"{n_genes:,}", what, len(times), spread(clock, ".0f"), spread(computing, ".0f")


def main() -> None:
    """Write the runs, click, keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="16,000 cells only")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's remarks on running without a server
    found: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["LABELTRANSFER_HOME"] = home
        for n_cells, n_genes in SIZES[:1] if asked.small else SIZES:
            run = finished_run(default_store(), n_cells, n_genes=n_genes)
            choose_genes(run, n_genes)
            found += rows(run, n_cells, n_genes)
            print(f"{n_cells:,} cells are done", flush=True)
    header = ("cells", "shared genes", "what", "tries", "ms", "computing, ms")
    text = (
        f"Median (smallest to largest), each click on a tile not seen before; {N_CHOSEN:,} chosen genes are compared "
        f"in at most {groups.MOST_COMPARED} cells of each of three groups. "
        f"At 16,000 cells a click may take {LIMIT} ms. "
        "*Computing* is the process's own processor time, which other work on the machine does not add to.\n\n"
    )
    keep(TITLE, f"python -m benchmarks.speed.click{' --small' if asked.small else ''}", text + table(header, found))


if __name__ == "__main__":
    main()
