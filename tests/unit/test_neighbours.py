"""The nearest labelled cells of a latent."""

import numpy as np
import pytest

from labeltransfer.neighbours import Neighbours, nearest_labelled
from tests.support.builders import clouds


def test_neighbours_are_the_nearest_labelled_cells_and_never_the_cell_itself() -> None:
    latent, _, labelled = clouds()
    near = nearest_labelled(latent, labelled, k=5)
    distances = np.linalg.norm(latent[:, None] - latent[labelled][None], axis=2)
    distances[labelled, np.arange(len(labelled))] = np.inf
    assert np.allclose(near.distances, np.sort(distances, axis=1)[:, :5], atol=1e-4)
    assert not (near.rows == np.arange(len(latent))[:, None]).any()
    assert np.isin(near.rows, labelled).all()


def test_twins_in_the_latent_are_each_others_neighbours() -> None:
    latent = np.repeat(np.arange(12, dtype=np.float32)[:, None], 2, axis=0)
    near = nearest_labelled(latent, np.arange(24), k=3)
    assert near.distances.shape == (24, 3)
    assert not (near.rows == np.arange(24)[:, None]).any()


def test_two_labelled_cells_are_enough_for_neighbours() -> None:
    near = nearest_labelled(np.array([[0.0], [1.0], [5.0]]), np.array([0, 1]))
    assert near.rows.tolist()[:2] == [[1], [0]]


def test_neighbours_refuse_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="shape"):
        Neighbours(np.zeros((3, 2), int), np.zeros((3, 1)))
