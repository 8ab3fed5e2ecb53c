"""Which query cells are trained on: no kind of cell and no batch is lost, and the same again each time."""

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp

from labeltransfer.data.prepare.query_sample import (
    _axes,
    _clusters,
    _landmarks,
    draw_cells,
    log_normalised,
    mean_profiles,
)

SIZES = [4000, 1500, 480, 20]
"""Cells of four kinds; the last one is rare."""


@pytest.fixture(scope="module")
def kinds() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(range(4), SIZES))


def expression(kinds: np.ndarray, seed: int) -> sp.csr_matrix:
    """Some 250 counts a cell over 400 genes, 15 of which mark each kind; each seed has its own bias on every gene."""
    base = np.random.default_rng(1).gamma(0.5, 1.0, 400)
    rates = np.tile(base, (4, 1))
    for kind in range(4):
        rates[kind, 20 * kind : 20 * kind + 15] += 3
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(rng.poisson(rates[kinds] * rng.lognormal(0, 0.5, 400)).astype(np.float32))


@pytest.fixture(scope="module")
def counts(kinds: np.ndarray) -> sp.csr_matrix:
    return expression(kinds, seed=2)


@pytest.fixture(scope="module")
def profiles() -> np.ndarray:
    """Of a reference that knows three of the four kinds, the rare one among them."""
    known = np.repeat([0, 1, 3], 40)
    counts = expression(known, seed=3)
    return mean_profiles(lambda: blocks_of(counts), np.repeat([0, 1, 2], 40))


def blocks_of(counts: sp.csr_matrix, n_block: int = 1100) -> Iterator[sp.csc_matrix]:
    for first in range(0, counts.shape[0], n_block):
        yield counts[first : first + n_block].tocsc()


def test_rare_kinds_are_kept_and_frequent_ones_keep_their_order(
    counts: sp.csr_matrix, kinds: np.ndarray, profiles: np.ndarray
) -> None:
    batches = np.zeros(len(kinds), np.int8)
    drawn = draw_cells(lambda: blocks_of(counts), batches, profiles, most=600)
    assert drawn.sum() == 600
    n_of = np.bincount(kinds[drawn], minlength=4)
    assert n_of[3] >= 8, "2 are expected of a plain draw"
    assert n_of[0] > n_of[1] > n_of[2] > n_of[3]


def test_a_kind_that_the_reference_lacks_is_distinguished_as_well(
    counts: sp.csr_matrix, kinds: np.ndarray, profiles: np.ndarray
) -> None:
    axes = _axes(_landmarks(lambda: blocks_of(counts), len(kinds), 0), 0)
    clusters = _clusters(log_normalised(counts.tocsc()) @ axes, 10, 0)
    frequent = kinds < 3
    purity = sum(np.bincount(kinds[frequent & (clusters == c)], minlength=1).max() for c in range(10)) / frequent.sum()
    assert purity > 0.95


def test_profiles_are_mean_expression_by_label(counts: sp.csr_matrix, kinds: np.ndarray) -> None:
    dense = counts.toarray().astype(float)
    dense = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    expected = [dense[kinds == kind].mean(axis=0) for kind in range(4)]
    np.testing.assert_allclose(mean_profiles(lambda: blocks_of(counts), kinds), expected, rtol=1e-4, atol=1e-5)


def test_every_batch_gives_its_share(counts: sp.csr_matrix, kinds: np.ndarray, profiles: np.ndarray) -> None:
    batches = (np.arange(len(kinds)) % 100 == 0).astype(np.int8)  # 60 cells are of the second one
    drawn = draw_cells(lambda: blocks_of(counts), batches, profiles, most=600)
    assert drawn.sum() == 600 and 6 <= drawn[batches == 1].sum() < 60


def test_more_batches_than_cells_wanted_give_one_cell_each(
    counts: sp.csr_matrix, kinds: np.ndarray, profiles: np.ndarray
) -> None:
    batches = np.arange(len(kinds)) // 10
    drawn = draw_cells(lambda: blocks_of(counts), batches, profiles, most=100)
    assert set(batches[drawn]) == set(batches) and drawn.sum() == 600


def test_equal_inputs_give_equal_samples_and_another_seed_another(
    counts: sp.csr_matrix, kinds: np.ndarray, profiles: np.ndarray
) -> None:
    batches = np.zeros(len(kinds), np.int8)

    def drawn(seed: int, n_block: int = 1100) -> np.ndarray:
        return draw_cells(lambda: blocks_of(counts, n_block), batches, profiles, most=600, seed=seed)

    assert np.array_equal(drawn(0), drawn(0)) and not np.array_equal(drawn(0), drawn(1))
