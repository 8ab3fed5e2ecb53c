"""The map of a latent."""

import numpy as np
import pytest

from labeltransfer.errors import RunError, SettingsError
from labeltransfer.results.embed import MIN_CELLS, mde


def groups(n_cells: int, *, n_groups: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latent of shape (n_cells, 10) with well separated groups, and the group of each cell."""
    rng = np.random.default_rng(seed)
    group = np.arange(n_cells) % n_groups
    centres = 6 * rng.standard_normal((n_groups, 10))
    return centres[group] + rng.standard_normal((n_cells, 10)), group


def test_groups_of_the_latent_stay_together_on_the_map() -> None:
    latent, group = groups(240)
    points = mde(latent)
    assert points.shape == (240, 2)
    assert points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (group[nearest] == group[:, None]).mean() > 0.95


def test_the_map_is_standardised() -> None:
    points = mde(groups(240)[0]).astype(float)
    assert np.allclose(points.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(points.T @ points / len(points), np.eye(2), atol=1e-2)


def test_same_seed_gives_the_same_map_and_another_seed_another() -> None:
    latent, _ = groups(120)
    first = mde(latent, seed=3)
    assert np.array_equal(first, mde(latent, seed=3))
    assert not np.array_equal(first, mde(latent, seed=4))


def test_fewer_cells_than_neighbours_use_all_others_and_say_so() -> None:
    with pytest.warns(UserWarning, match="each cell has 11 others"):
        points = mde(groups(12)[0], n_neighbors=15)
    assert np.isfinite(points).all()


def test_cells_with_the_same_latent_get_finite_points() -> None:
    latent, _ = groups(60)
    latent[30:] = latent[:30]
    assert np.isfinite(mde(latent)).all()


def test_too_few_cells_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match="widen the filters"):
        mde(np.zeros((MIN_CELLS - 1, 5)))


def test_a_latent_that_is_not_finite_is_an_error() -> None:
    latent, _ = groups(20)
    latent[3, 2] = np.nan
    with pytest.raises(RunError, match="diverged"):
        mde(latent)
