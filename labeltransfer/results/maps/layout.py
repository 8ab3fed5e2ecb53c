"""Lay out cells in two dimensions: pymde's problem and optimiser, with a fast start, value and gradient."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymde  # with torch, it takes seconds to import: only the worker does so
import scipy.sparse as sp
import torch

from labeltransfer.results.maps.placement import place

EXPONENT = 1.5
"""Of the distance in pymde's attractive penalty, ``log(1 + d ** 1.5)``; its own default."""

N_STEPS = 300
"""Steps of pymde's optimiser; its own default."""

MOST_AT_ONCE = 20_000
"""Cells that are laid out from the plain start; of more, ``N_FIRST`` are laid out first, and the others start there."""

N_FIRST = 5_000

N_LAST_STEPS = 100
"""Steps of more than ``MOST_AT_ONCE`` cells, which start near their places; the next 200 gain 0.2 % of distortion."""

N_SMOOTHINGS = 20


class NeighbourMap(pymde.MDE):
    """A problem made by ``pymde.preserve_neighbors``, with the same average distortion, computed by hand.

    pymde's own takes six times as long: it masks the pairs anew for either penalty, and differentiates through both.

    Parameters
    ----------
    problem
        What ``pymde.preserve_neighbors`` made with its default penalties: ``Log1p`` for pairs kept close, ``Log`` for
        pairs pushed apart.
    """

    def __init__(self, problem: pymde.MDE) -> None:
        super().__init__(
            int(problem.n_items), 2, problem.edges, problem.distortion_function, constraint=problem.constraint
        )
        weights = problem.distortion_function.weights
        edges = torch.cat([problem.edges[weights > 0], problem.edges[weights < 0]]).to(torch.int32)
        self._pairs = edges[:, 0].contiguous(), edges[:, 1].contiguous()
        self._close = weights[weights > 0]
        self._apart = -weights[weights < 0]
        upper = sp.coo_array((self._close.numpy(), edges[: len(self._close)].numpy().T), shape=2 * (int(self.n_items),))
        self._neighbours = (upper + upper.T).tocsr()

    def average_distortion(self, X: torch.Tensor | None = None) -> torch.Tensor:
        """Average distortion of a map of shape (n_cells, 2), or of the last one; torch can differentiate it."""
        return _Distortion.apply(self.X if X is None else X, self)

    def value_and_gradient(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Average distortion of a map and its gradient, which has the shape (n_cells, 2) of ``points``."""
        first, second = self._pairs
        columns = points.T.contiguous()
        apart = [column.index_select(0, first).sub_(column.index_select(0, second)) for column in columns]
        distance = (apart[0] * apart[0]).addcmul_(apart[1], apart[1]).sqrt_()
        slope = torch.empty_like(distance)  # derivative by the distance, divided by the distance
        n_close = len(self._close)
        close, root = distance[:n_close], distance[:n_close].sqrt()
        power = close * root
        value = torch.dot(self._close, power.log1p())
        torch.div(self._close, root.mul_(power.add_(1)), out=slope[:n_close]).mul_(EXPONENT)
        far = distance[n_close:]
        gap = torch.expm1(-far)  # exp(-d) - 1, below zero
        value -= torch.dot(self._apart, gap.neg().log_())
        torch.div(self._apart * (gap + 1), gap.mul_(far), out=slope[n_close:])
        slope.nan_to_num_(1.0, 1.0, 1.0)  # cells in one point, as pymde does it
        gradient = torch.zeros_like(columns)
        for along, column in zip(gradient, apart, strict=True):
            along.index_add_(0, first, column.mul_(slope))
            along.index_add_(0, second, column.neg_())
        return value / len(distance), gradient.T / len(distance)

    def mean_of_neighbours(self, points: np.ndarray) -> np.ndarray:
        """Mean of each cell's neighbours on a map, array of shape (n_cells, 2), float32."""
        return (self._neighbours @ points) / self._neighbours.sum(axis=1)[:, None]


class _Distortion(torch.autograd.Function):
    """Gives torch the value and the gradient of a ``NeighbourMap``."""

    @staticmethod
    def forward(context: Any, points: torch.Tensor, problem: NeighbourMap) -> torch.Tensor:
        value, context.gradient = problem.value_and_gradient(points.detach())
        return value

    @staticmethod
    def backward(context: Any, factor: torch.Tensor) -> tuple[torch.Tensor, None]:
        return context.gradient * factor, None


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: a second one gains nothing on vectors this short, and would change the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def neighbour_map(latent: np.ndarray, *, n_neighbors: int, repulsive_fraction: float, seed: int) -> NeighbourMap:
    """The problem: which cells to keep close, which to push apart.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent), float32, rows all different. Exact nearest neighbours take time with
        n_cells squared.
    """
    pymde.seed(seed)
    return NeighbourMap(
        pymde.preserve_neighbors(
            latent,
            embedding_dim=2,
            constraint=pymde.Standardized(),
            repulsive_fraction=repulsive_fraction,
            n_neighbors=n_neighbors,
            knn_method="exact",
            init="random",  # pymde's own start can be neither seeded nor hurried
            device="cpu",
        )
    )


@_one_thread()
def lay_out(latent: np.ndarray, *, n_neighbors: int, repulsive_fraction: float, seed: int) -> np.ndarray:
    """Minimum-distortion embedding of all rows of a latent (n_cells, n_latent); parameters as in ``neighbour_map``.

    Returns
    -------
    Array of shape (n_cells, 2), float32, standardised.
    """
    settings: dict[str, Any] = {"n_neighbors": n_neighbors, "repulsive_fraction": repulsive_fraction, "seed": seed}
    n_cells = len(latent)
    if n_cells > MOST_AT_ONCE:
        # Few cells find the arrangement of groups in little time; many then need only the details, and come out with
        # less distortion and fewer groups on top of one another than from the plain start.
        first = np.sort(np.random.default_rng(seed).choice(n_cells, N_FIRST, replace=False))
        start = place(latent, first, lay_out(latent[first], **settings), n_neighbors=n_neighbors, seed=seed)
    problem = neighbour_map(latent, **settings)
    if n_cells <= MOST_AT_ONCE:
        start = plain_start(latent, problem, seed)
    feasible = problem.constraint.project_onto_constraint(torch.from_numpy(start))
    return problem.embed(X=feasible, max_iter=N_STEPS if n_cells <= MOST_AT_ONCE else N_LAST_STEPS).numpy()


def plain_start(latent: np.ndarray, problem: NeighbourMap, seed: int) -> np.ndarray:
    """First two principal components, smoothed over neighbours, unit variance; array of shape (n_cells, 2), float32.

    Smoothing draws each group together, so that groups can pass by one another before they spread.

    The Laplacian's eigenvectors, the usual start, took longer than all else to find, longest where groups have no edge
    between them, and the map came out with more distortion after the same number of steps.
    """
    centred = latent - latent.mean(axis=0)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(centred, rowvar=False)))
    start = np.zeros((len(latent), 2), dtype=np.float32)
    start[:, : latent.shape[1]] = centred @ axes[:, ::-1][:, :2]
    for _ in range(N_SMOOTHINGS):
        start = (start + problem.mean_of_neighbours(start)) / 2
    start /= start.std(axis=0) + 1e-12
    # Cells in one point have no gradient between them.
    return (start + 1e-3 * np.random.default_rng(seed).standard_normal(start.shape)).astype(np.float32)
