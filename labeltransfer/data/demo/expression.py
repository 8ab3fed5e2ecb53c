"""How the demo's counts come about: from states over expression to what a technology counts of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.demo.states import HOUSEKEEPING, PROGRAMMES, SEX_GENES, STATES

N_BLOCK = 500
"""Cells simulated at a time, so that memory stays small at any size."""


@dataclass(frozen=True)
class Technology:
    """How a technology turns expression into counts.

    ``depth`` is the median count per cell and gene of the simulation, ``spread`` the standard deviation of its log over
    cells, ``theta`` the inverse overdispersion of a count.
    """

    name: str
    depth: float
    spread: float
    theta: float
    counts_by_length: bool


SMART_SEQ2 = Technology("Smart-seq2", depth=8.0, spread=0.5, theta=0.5, counts_by_length=True)
DROPLET = Technology("10x", depth=0.6, spread=0.45, theta=3.0, counts_by_length=False)


def marker_genes() -> list[str]:
    """Real symbols of all genes that a programme, a sex or every cell expresses."""
    words = [*PROGRAMMES.values(), HOUSEKEEPING, *SEX_GENES.values()]
    return list(dict.fromkeys(gene for word in words for gene in word.split()))


def gene_names(n_genes: int, rng: np.random.Generator) -> pd.Index:
    """Real symbols of the marker genes and invented ones for the rest, shape (n_genes,), sorted."""
    markers = marker_genes()
    n_other = n_genes - len(markers)
    numbers = rng.choice(40_000, n_other, replace=False) + 10_000
    letters = rng.choice(list("ABCDEFGHIJKLMNOP"), n_other)
    clone = rng.random(n_other) < 0.3
    other = [
        f"{1_000_000 + 97 * number}{letter}{number % 23 + 1:02d}Rik" if is_clone else f"Gm{number}"
        for number, letter, is_clone in zip(numbers, letters, clone, strict=True)
    ]
    return pd.Index(sorted(markers + other))


def state_rates(genes: pd.Index, rng: np.random.Generator) -> np.ndarray:
    """Expression of each state, shape (n_states, n_genes), rows sum to 1.

    A state expresses a common base, the programmes of its lineage (its markers strongly, other genes moderately) and a
    few genes of its own.
    """
    base = rng.lognormal(-1.5, 1.5, genes.size)
    base[genes.isin(HOUSEKEEPING.split())] = np.exp(rng.normal(3, 0.5, len(HOUSEKEEPING.split())))
    effects = {}
    for name, markers in PROGRAMMES.items():
        at = genes.get_indexer(pd.Index(markers.split()))
        base[at] = 0.02  # markers are all but silent where their programme is
        effect = np.zeros(genes.size)
        others = rng.choice(genes.size, genes.size // 40, replace=False)
        effect[others] = rng.normal(0.6, 1.0, others.size)
        effect[at] = rng.normal(5.5, 0.7, at.size)
        effects[name] = effect
    log_rates = np.tile(np.log(base), (len(STATES), 1))
    for row, state in zip(log_rates, STATES, strict=True):
        # A marker of two programmes of a state is no stronger than one of a single programme.
        row += np.max([effects[p].clip(min=0) for p in state.programmes], axis=0)
        row += np.min([effects[p].clip(max=0) for p in state.programmes], axis=0)
        own = rng.choice(genes.size, genes.size // 40, replace=False)
        row[own] += rng.normal(0, 0.8, own.size)
    rates = np.exp(log_rates)
    return rates / rates.sum(axis=1, keepdims=True)


def cell_expression(
    states: np.ndarray, female: np.ndarray, rates: np.ndarray, genes: pd.Index, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Expected expression of each cell, in blocks of shape (up to N_BLOCK, n_genes)."""
    names = [state.name for state in STATES]
    sisters = np.array([names.index(state.sister) for state in STATES])
    # No cell is nearer to the sister than to its own state.
    blend = rng.beta(1.2, 4.0, states.size)[:, None].clip(max=0.45)
    silent = {sex: genes.get_indexer(pd.Index(SEX_GENES[sex].split())) for sex in SEX_GENES}
    for at in range(0, states.size, N_BLOCK):
        rows = slice(at, at + N_BLOCK)
        block = (1 - blend[rows]) * rates[states[rows]] + blend[rows] * rates[sisters[states[rows]]]
        block[np.ix_(female[rows], silent["male"])] = 0
        block[np.ix_(~female[rows], silent["female"])] = 0
        yield block


def simulate_counts(
    expression: Iterator[np.ndarray], bias: np.ndarray, technology: Technology, rng: np.random.Generator
) -> sp.csr_matrix:
    """Negative-binomial counts, shape (n_cells, n_genes), as a Poisson draw around a gamma-distributed mean."""
    blocks = []
    for block in expression:
        mean = block * bias
        depth = rng.lognormal(np.log(technology.depth * bias.size), technology.spread, len(mean))
        mean *= (depth / mean.sum(axis=1))[:, None]
        noise = rng.standard_gamma(technology.theta, mean.shape, dtype=np.float32) / technology.theta
        blocks.append(sp.csr_matrix(rng.poisson(mean * noise).astype(np.float32)))
    return sp.vstack(blocks, format="csr")
