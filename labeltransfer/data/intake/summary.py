"""What the app knows about an input file without loading it: its tables and a sample of its counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import InputError
from labeltransfer.formats import OpenInput, open_input

SAMPLE_CELLS = 500
_BLOCK = 10

Kind = Literal["counts", "estimates", "log", "scaled", "invalid", "empty"]
"""What the values of a matrix are: whole counts; estimated or rescaled ones; log-transformed; with negatives; with NaN
or infinity; nothing but zeros."""

_RANK: dict[str, int] = {"counts": 0, "estimates": 1, "log": 2, "scaled": 3, "invalid": 4, "empty": 5}


@dataclass(frozen=True)
class Summary:
    """An input file as far as choosing cells and judging it need it."""

    path: Path
    n_bytes: int
    obs: pd.DataFrame
    """Table of cells, (n_cells, n_columns)."""
    var: pd.DataFrame
    """Table of the genes of ``counts``, with gene names as index."""
    n_cells: int
    n_genes: int
    places: tuple[str, ...]
    """Where matrices are: among "X", "raw" and "layers/NAME"."""
    counts: str
    """The place that was chosen, or looks most like raw counts."""
    kinds: Mapping[str, Kind]
    """What each place holds, judging by some of its values."""
    sample: sp.csr_matrix
    """Rows from all over the file, (at most 500, n_genes)."""
    sample_share: float = 1.0
    """Share of the counts that lie in genes which the sample covers; below 1 for large counts stored by gene (CSC)."""

    @property
    def depth(self) -> float:
        """Counts in the median cell of the sample, those of genes that it does not cover estimated."""
        return float(np.median(np.asarray(self.sample.sum(axis=1)))) / self.sample_share

    @property
    def kind(self) -> Kind:
        """What the chosen place holds."""
        return self.kinds[self.counts]


def read_summary(path: Path | str, *, counts: str = "auto") -> Summary:
    """Read the tables and a sample of the counts.

    A file of several GB takes a second or two.

    Parameters
    ----------
    path
        The file.
    counts
        "X", "raw" or "layers/NAME"; "auto" takes the place that looks most like raw counts and, among those, has the
        most genes.

    Raises
    ------
    InputError
        The file is refused (see ``formats.open_input``), contradicts itself, or has nothing in ``counts``.
    """
    path = Path(path)
    with open_input(path) as opened:
        places = opened.places()
        kinds = {place: value_kind(opened.values(place)) for place in places}
        place = best_place(opened, kinds) if counts == "auto" else counts
        obs, var = opened.obs(), opened.var(place)
        shape = opened.shape(place)
        if shape != (len(obs), len(var)):
            raise InputError(
                f"{path.name}: {place} has {shape[0]:,} rows and {shape[1]:,} columns for {len(obs):,} cells and "
                f"{len(var):,} genes. Save the file anew with anndata's write_h5ad."
            )
        sample, share = opened.sample(place, sample_rows(len(obs)))
    return Summary(
        path=path,
        n_bytes=path.stat().st_size,
        obs=obs,
        var=var,
        n_cells=shape[0],
        n_genes=shape[1],
        places=tuple(places),
        counts=place,
        kinds=kinds,
        sample=sample,
        sample_share=share,
    )


def sample_rows(n_cells: int) -> np.ndarray:
    """Up to 500 row numbers from all over a file, in short runs, each of which is one read."""
    if n_cells <= SAMPLE_CELLS:
        return np.arange(n_cells)
    starts = np.linspace(0, n_cells - _BLOCK, SAMPLE_CELLS // _BLOCK).astype(int)
    return np.unique(starts[:, None] + np.arange(_BLOCK))


def best_place(opened: OpenInput, kinds: Mapping[str, Kind]) -> str:
    """Find what looks most like raw counts; of equals, what has the most genes, then X, then a counts layer."""

    def rank(place: str) -> tuple[int, int, int, str]:
        named = any(word in place.lower() for word in ("count", "raw", "umi"))
        # spliced and unspliced layers are whole numbers as well, but only parts of the counts
        order = 0 if place == "X" else 1 if named and "splice" not in place.lower() else 2
        return _RANK[kinds[place]], -opened.shape(place)[1], order, place

    return min(kinds, key=rank)


def value_kind(values: np.ndarray) -> Kind:
    """Say what some values of a matrix are; zeros do not matter."""
    if not np.isfinite(values).all():
        return "invalid"
    values = values[values != 0]
    if not len(values):
        return "empty"
    if values.min() < 0:
        return "scaled"
    whole = float((values == np.rint(values)).mean())
    if whole == 1:
        return "counts"
    if values.max() < 20 and (whole < 0.2 or _whole(np.exp2(values)) or _whole(np.expm1(values))):
        return "log"
    return "estimates"


def _whole(values: np.ndarray) -> bool:
    return bool((np.abs(values - np.rint(values)) < 1e-3 * np.maximum(values, 1)).mean() > 0.99)


def full_length(summary: Summary) -> bool | None:
    """Whether counts look like reads of a full-length protocol; None when that is not evident.

    Smart-seq2 gives hundreds of thousands of reads a cell and few genes with a single one; droplet protocols give
    thousands of UMIs, half of them or more alone in their gene.
    """
    values = summary.sample.data
    if not np.isfinite(values).all() or not (values > 0).any():
        return None
    depth, ones = summary.depth, float((np.rint(values[values > 0]) == 1).mean())
    if depth > 50_000 and ones < 0.35:
        return True
    return False if depth < 50_000 and ones > 0.35 else None
