"""Simulated pairs of any size, written to disk some cells at a time: the demo's states, drawn fast.

Every count of a cell is one draw from the expression of its state, blended with that of its related state; each side
counts each gene with its own bias. A million cells with 1,000 counts each take some minutes.
"""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.demo.expression import gene_names, state_rates
from labeltransfer.data.demo.simulate import LABELS_KEY, simulate_obs
from labeltransfer.data.demo.states import STATES

N_BLOCK = 10_000


def simulate_pair(
    folder: Path, *, n_reference: int, n_query: int, n_genes: int = 4000, depth: float = 1000, seed: int = 0
) -> tuple[Path, Path]:
    """Write ``reference.h5ad`` and ``query.h5ad``, counts by row, all of their cells to be used.

    Parameters
    ----------
    folder
        Where they go; made if needed. Files of the same sizes that are already there are kept.
    n_reference, n_query
        Cells of each side.
    n_genes
        Genes of both sides.
    depth
        Median counts of a query cell; reference cells have twice as many.
    seed
        Same seed and sizes, same data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    genes = gene_names(n_genes, np.random.default_rng(seed))
    rates = state_rates(genes, np.random.default_rng(seed))
    paths = []
    for side, n_cells, own_depth in (("reference", n_reference, 2 * depth), ("query", n_query, depth)):
        path = folder / f"{side}_{n_cells}x{n_genes}_{depth:g}_{seed}.h5ad"
        paths.append(path)
        if not path.exists():
            rng = np.random.default_rng([seed, n_cells, side == "query"])
            bias = np.random.default_rng([seed, side == "query"]).lognormal(0, 0.5, n_genes)
            building = path.with_suffix(".part")
            _write_side(building, genes, rates * bias, n_cells, own_depth, side == "reference", rng)
            building.rename(path)
    return paths[0], paths[1]


def _write_side(
    path: Path,
    genes: pd.Index,
    rates: np.ndarray,
    n_cells: int,
    depth: float,
    reference: bool,
    rng: np.random.Generator,
) -> None:
    obs, states = simulate_obs(n_cells, reference=reference, rng=rng)  # with cells that a filter would leave out
    kept = np.sort(rng.choice(np.flatnonzero(obs[LABELS_KEY].notna()), n_cells, replace=False))
    obs, states = obs.iloc[kept].copy(), states[kept]
    tables = [_alias_table(row) for row in rates / rates.sum(axis=1, keepdims=True)]
    accept, other = (np.array(part) for part in zip(*tables, strict=True))
    with h5py.File(path, "w") as file:
        ad.io.write_elem(file, "/", ad.AnnData(obs=obs, var=pd.DataFrame(index=genes)))
        for first in range(0, n_cells, N_BLOCK):
            block = _draw(states[first : first + N_BLOCK], accept, other, depth, rng)
            if first == 0:
                ad.io.write_elem(file, "X", block, dataset_kwargs={"compression": "lzf"})
            else:
                ad.io.sparse_dataset(file["X"]).append(block)


def _draw(
    states: np.ndarray, accept: np.ndarray, other: np.ndarray, depth: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """Counts of some cells, shape (n_cells, n_genes)."""
    names = [state.name for state in STATES]
    related = np.array([names.index(state.sister) for state in STATES])
    n_cells, n_genes = len(states), accept.shape[1]
    totals = rng.lognormal(np.log(depth), 0.45, n_cells).astype(np.int64) + 1
    cells = np.repeat(np.arange(n_cells, dtype=np.int32), totals)
    blend = rng.beta(1.2, 4.0, n_cells).clip(max=0.45).astype(np.float32)
    source = states[cells]
    swapped = rng.random(len(cells), dtype=np.float32) < blend[cells]
    source[swapped] = related[source[swapped]]
    place = rng.random(len(cells)) * n_genes
    gene = place.astype(np.int32)
    gene = np.where(place - gene < accept[source, gene], gene, other[source, gene])
    ones = np.ones(len(cells), np.float32)
    return sp.coo_matrix((ones, (cells, gene)), shape=(n_cells, n_genes)).tocsr()


def _alias_table(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias method: of each gene the share kept, and the gene that takes the rest; shares sum to 1."""
    n = len(shares)
    scaled, other = shares * n, np.arange(n)
    small, large = list(np.flatnonzero(scaled < 1)), list(np.flatnonzero(scaled >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        other[low] = high
        scaled[high] -= 1 - scaled[low]
        if scaled[high] < 1:
            small.append(large.pop())
    return scaled.clip(max=1), other
