"""Samples that lose no group."""

import numpy as np
import pytest

from labeltransfer.strata import shares, stratified

SIZES = [4000, 1500, 480, 20]


@pytest.mark.parametrize("n_places", [50, 500, 5000])
def test_places_are_given_out_to_the_last_and_never_beyond_a_group(n_places: int) -> None:
    sizes = np.array([1, 5, 40, 400, 4000])
    got = shares(sizes, n_places, least=20)
    assert got.sum() == min(n_places, sizes.sum())
    assert (got <= sizes).all()
    assert (got > 0).all()


@pytest.mark.parametrize("most", [4, 50, 700, 5999, 6000, 9000])
def test_quotas_add_up_and_never_ask_for_more_than_there_is(most: int) -> None:
    sizes = np.array(SIZES)
    quota = shares(sizes, most, least=most // (4 * len(sizes)))
    assert quota.sum() == min(most, 6000)
    assert (quota <= sizes).all() and (quota >= 1).all()


def test_small_groups_are_taken_whole_and_the_rest_by_size() -> None:
    assert shares(np.array([100_000, 50_000, 10]), 1200, least=100).tolist() == [760, 430, 10]


def test_each_group_gets_its_places_and_nobody_is_drawn_twice() -> None:
    groups = np.repeat(["many", "few", "rare"], [1000, 100, 3])
    rows = stratified(groups, 120, np.random.default_rng(0), least=10)
    names, counts = np.unique(groups[rows], return_counts=True)
    assert len(set(rows)) == 120 and dict(zip(names, counts, strict=True)) == {"many": 99, "few": 18, "rare": 3}
