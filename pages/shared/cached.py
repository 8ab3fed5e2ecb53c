"""Readers of files, kept in memory for all sessions; a file that changes is read again.

What has a row a cell is kept once and never copied: to copy a million cells takes a second, at each click. Pages read
it and never write into it.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.data.prepare import prepared
from labeltransfer.errors import RunError
from labeltransfer.params import Side
from labeltransfer.results.figures import confusion_matrix
from labeltransfer.results.figures.colours import label_colours
from labeltransfer.results.maps import sampling
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.results.scores.evaluate import Normalize
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.runs.records.edits import edits_file, read_edits
from labeltransfer.runs.records.run import Run
from labeltransfer.storage.files import read_json

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")
Stamp = tuple[str, int, int]
"""Path of a file, when it was last changed, and its bytes; zeros where there is none."""


def reader(
    *files: Callable[[S], Path | Sequence[Path]], max_entries: int, shared: bool = False, spinner: bool | str = False
) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """Keep what a function reads from the files of its first argument, for as long as they stay the same.

    Parameters
    ----------
    files
        Each takes the function's first argument, such as a run, and returns a path that the result depends on, or
        several. Of the first argument only these paths count: what two runs share is kept once.
    max_entries
        Results that are kept, of all files and arguments together.
    shared
        Return the same object to all callers instead of a copy: for what is large. Never write into it.
    spinner
        What the page says meanwhile.
    """

    def decorate(read: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        def keep(_subject: Any, stamps: tuple[Stamp, ...], *args: Any, **kwargs: Any) -> Any:
            return read(_subject, *args, **kwargs)

        # Streamlit distinguishes kept functions by name and source, those of `read`; the signature says that the
        # subject itself is not hashed.
        signature = inspect.signature(keep)
        functools.update_wrapper(keep, read)
        keep.__signature__ = signature  # type: ignore[attr-defined]
        kind = st.cache_resource if shared else st.cache_data
        kept = kind(max_entries=max_entries, show_spinner=spinner)(keep)

        @functools.wraps(read)
        def call(subject: S, *args: P.args, **kwargs: P.kwargs) -> T:
            return kept(subject, _stamps([file(subject) for file in files]), *args, **kwargs)

        return call

    return decorate


def _stamps(files: list[Path | Sequence[Path]]) -> tuple[Stamp, ...]:
    return tuple(_stamp(path) for some in files for path in ([some] if isinstance(some, Path) else some))


def _stamp(path: Path) -> Stamp:
    try:
        facts = path.stat()
    except OSError:  # none is there, or another user of the server has closed it: reading it says so
        return str(path), 0, 0
    return str(path), facts.st_mtime_ns, facts.st_size


def the_path(path: Path) -> Path:
    """For readers whose first argument is the path itself."""
    return path


def cells_file(run: Run) -> Path:
    """The table of cells of a finished run."""
    return run.artefacts.cells


def counts_file(run: Run) -> Path:
    """Prepared counts; raises RunError where the run was kept without them."""
    return run.artefacts.prepared


def cells(run: Run) -> pd.DataFrame:
    """The table of cells of a finished run, shared by all sessions: read it, never write into it."""
    # A column that is added to this one is the caller's own; the values are shared.
    return _cells(run).copy(deep=False)


@reader(cells_file, max_entries=6, shared=True, spinner="Reading the cells …")
def _cells(run: Run) -> pd.DataFrame:
    return read_cells(require_whole(cells_file(run)))


@reader(cells_file, max_entries=16, shared=True)
def side_rows(run: Run, sides: Sequence[str]) -> np.ndarray:
    """Rows of some sides in the table of cells, array of shape (n_shown,), ascending."""
    return np.flatnonzero(_cells(run)["side"].isin(sides).to_numpy())


@reader(cells_file, max_entries=64, shared=True)
def drawn_rows(run: Run, sides: Sequence[str], colour: str = "") -> np.ndarray:
    """Rows of the cells that a map of some sides draws; of more than it takes, a sample with every label.

    ``colour`` names a column: categories of it that the sample lacks are added.
    """
    table, shown = _cells(run), side_rows(run, sides)
    if not colour:
        groups = table[["side", "predicted_label", "observed_label"]].iloc[shown]
        return shown[sampling.sample_rows(groups, n_most=sampling.MOST_DRAWN)]
    among = np.searchsorted(shown, drawn_rows(run, sides))
    return shown[sampling.with_every_category(among, table[colour].iloc[shown])]


@reader(cells_file, max_entries=64)
def confusion(run: Run, *, side: Side, normalize: Normalize) -> pd.DataFrame:
    """Confusion matrix of all cells of a side, see :func:`.evaluate.confusion`."""
    return evaluate.confusion(_cells(run), side=side, normalize=normalize)


@reader(cells_file, max_entries=32, shared=True)
def confusion_chart(run: Run, *, side: Side, normalize: Normalize, dark: bool, verdicts: Sequence[str] = ()) -> Any:
    """The clickable matrix of :func:`.confusion_matrix.confusion_chart`; to build it takes as long as a page.

    ``verdicts`` of the rows of :func:`confusion` colour the tiles, where any are given.
    """
    table = confusion(run, side=side, normalize=normalize)
    return confusion_matrix.confusion_chart(
        table.assign(verdict=list(verdicts)) if verdicts else table, normalize=normalize, dark=dark
    )


@reader(cells_file, max_entries=32)
def per_label(run: Run, *, side: Side) -> pd.DataFrame:
    """Scores by label over all cells of a side, see :func:`.evaluate.per_label`."""
    return evaluate.per_label(_cells(run), side=side)


@reader(cells_file, max_entries=16)
def colours(run: Run) -> dict[str, str]:
    """Colour of every label of a run, observed or predicted."""
    table = _cells(run)
    labels = pd.concat([pd.Series(table[name].unique()) for name in ("observed_label", "predicted_label")])
    return label_colours(labels.dropna())


@reader(cells_file, max_entries=32)
def reference_labels(run: Run) -> list[str]:
    """Labels that can be predicted."""
    return evaluate.reference_labels(_cells(run))


def metrics(run: Run) -> dict[str, Any]:
    """Scores of a finished run."""
    return _json(run.artefacts.metrics)


def trust(run: Run) -> dict[str, Any]:
    """How far a finished run's labels can be trusted; empty for a run that is older than these checks."""
    try:
        path = run.artefacts.trust
    except RunError:
        return {}
    return _json(path)


@reader(the_path, max_entries=32)
def _json(path: Path) -> dict[str, Any]:
    return read_json(require_whole(path))


@reader(counts_file, max_entries=8, shared=True)
def gene_names(run: Run) -> tuple[tuple[str, ...], int]:
    """Shared genes from A to Z, and the place among them of the most variable one."""
    table = prepared.read_genes(counts_file(run))
    names = tuple(sorted(table.index.astype(str), key=str.lower))
    first = str(table["highly_variable_rank"].fillna(np.inf).astype(float).idxmin())
    return names, names.index(first)


@reader(counts_file, max_entries=64, shared=True)
def expression(run: Run, gene: str) -> np.ndarray:
    """Log-normalised expression of one gene, array of shape (n_cells,)."""
    return prepared.expression(counts_file(run), gene)


@reader(edits_file, max_entries=64, shared=True)
def edits(run: Run) -> list[Edit]:
    """The run's edits, the oldest first."""
    return read_edits(run)
