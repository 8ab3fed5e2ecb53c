"""Samples that lose no group: which cells are drawn where there are too many to train on, to lay out or to show."""

import numpy as np
import pandas as pd


def shares(sizes: np.ndarray, n_places: int, *, least: int) -> np.ndarray:
    """Number of cells that each group gets of ``n_places``, array of shape (n_groups,); none gets more than its size.

    Each gets ``least`` first, or its size if that is smaller; what is left goes by size. ``least`` gives way where the
    groups are so many that it would take more than half of the places, but never below 1.
    """
    least = max(1, min(least, n_places // (2 * len(sizes))))
    base = np.minimum(sizes, least)
    rest = sizes - base
    n_left = n_places - int(base.sum())
    if n_left <= 0 or not rest.any():
        return base
    exact = rest * min(1.0, n_left / rest.sum())
    whole = np.floor(exact).astype(int)
    # What rounding down left over goes to the largest remainders.
    first = np.argsort(whole - exact, kind="stable")[: min(n_left, int(rest.sum())) - int(whole.sum())]
    whole[first] += 1
    return base + whole


def stratified(groups: np.ndarray, n_places: int, rng: np.random.Generator, *, least: int) -> np.ndarray:
    """Positions in ``groups`` of a random sample of each group, as many as ``shares`` gives; unsorted."""
    codes, names = pd.factorize(groups, use_na_sentinel=False)
    sizes = np.bincount(codes, minlength=len(names))
    taken = shares(sizes, n_places, least=least)
    mixed = rng.permutation(len(codes))
    mixed = mixed[np.argsort(codes[mixed], kind="stable")]  # group by group, each in random order
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return mixed[rank < np.repeat(taken, sizes)]
