"""Nearest cells in a latent, for all that compare cells: maps, the kNN classifier, distances and the audit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

K = 15
"""Labelled cells that a cell is compared with."""

N_SEARCHED = 16
"""Regions of the latent in which the nearest cells are looked for; of some 200, it finds 99.9 % of them."""

BLOCK = 2**24
"""Distances that are held at a time, 4 bytes each."""


@dataclass(frozen=True)
class Neighbours:
    """Each cell's nearest labelled cells in a latent, without the cell itself, nearest first.

    ``rows`` are rows of the table of cells and ``distances`` Euclidean, both arrays of shape (n_cells, k).
    """

    rows: np.ndarray
    distances: np.ndarray

    def __post_init__(self) -> None:
        if self.rows.shape != self.distances.shape or self.rows.ndim != 2:
            raise ValueError(f"rows of shape {self.rows.shape}, distances of shape {self.distances.shape}")


def nearest_labelled(latent: np.ndarray, labelled: np.ndarray, *, k: int = K, seed: int = 0) -> Neighbours:
    """Look for every cell's nearest labelled cells.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent).
    labelled
        Rows of the labelled cells, shape (n_labelled,), ascending.
    k
        Neighbours of a cell; fewer where there are fewer labelled cells.
    seed
        Seed of the regions, see :func:`nearest_rows`.
    """
    latent = np.ascontiguousarray(latent, dtype=np.float32)
    n_cells, k = len(latent), min(k, len(labelled) - 1)
    all_cells = np.arange(n_cells)
    found = np.empty((n_cells, k), np.int64)
    distances = np.empty((n_cells, k), np.float32)
    for block, places in nearest_rows(latent, all_cells, labelled, k=k + 1, seed=seed):
        rows, near = block.numpy(), labelled[places.numpy()]
        # A labelled cell is its own nearest, but for one with a twin: then either may come first.
        itself = near == rows[:, None]
        itself[~itself.any(axis=1), -1] = True
        near = near[~itself].reshape(len(rows), k)
        found[rows] = near
        distances[rows] = np.linalg.norm(latent[near] - latent[rows][:, None, :], axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1))


def nearest_rows(
    latent: np.ndarray, asked: np.ndarray, targets: np.ndarray, *, k: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Nearest targets of the cells asked for, almost always the true ones, a block of cells at a time.

    ``asked`` and ``targets`` are rows of ``latent``, which has the shape (n_cells, n_latent).

    The latent is cut into regions, the square root of n_targets of them, and the cells of a region are compared with
    the targets of the ``N_SEARCHED`` nearest regions only.

    Yields
    ------
    Positions in ``asked``, shape (n_block,), and positions in ``targets``, shape (n_block, k), nearest first.
    """
    points = torch.from_numpy(latent[targets])
    middle = points.mean(dim=0)  # squared lengths stay small, so float32 keeps small distances
    points -= middle
    centres = _centres(points, seed)
    own = _members(_region(points, centres), len(centres))
    regions = [
        _region(torch.from_numpy(latent[part]) - middle, centres) for part in np.array_split(asked, _parts(asked))
    ]
    members = _members(torch.cat(regions), len(centres))
    by_distance = torch.cdist(centres, centres).argsort(dim=1)
    for asking, order in zip(members, by_distance, strict=True):
        n_searched = N_SEARCHED
        found = torch.cat([own[region] for region in order[:n_searched]])
        while len(found) < min(4 * k, len(points)):
            n_searched *= 2
            found = torch.cat([own[region] for region in order[:n_searched]])
        candidates = points[found]
        lengths = candidates.square().sum(dim=1)
        for rows in asking.split(max(1, BLOCK // len(found))):
            block = torch.from_numpy(latent[asked[rows.numpy()]]) - middle
            # Squared distance but for the length of the cell's own row, which changes no order.
            distance = torch.addmm(lengths, block, candidates.T, alpha=-2)
            yield rows, found[distance.topk(k, dim=1, largest=False).indices]


def _centres(points: torch.Tensor, seed: int) -> torch.Tensor:
    """Centres of regions, shape (n_regions, n_latent), by a few steps of k-means."""
    n_regions = max(1, int(len(points) ** 0.5))
    chosen = np.random.default_rng(seed).choice(len(points), n_regions, replace=False)
    centres = points[torch.from_numpy(chosen)]
    for _ in range(5):
        region = _region(points, centres)
        size = torch.bincount(region, minlength=n_regions)[:, None]
        total = torch.zeros_like(centres).index_add_(0, region, points)
        centres = torch.where(size > 0, total / size.clamp(min=1), centres)
    return centres


def _region(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Number of the nearest centre of each row, shape (n_rows,)."""
    lengths = centres.square().sum(dim=1)
    parts = rows.split(max(1, BLOCK // len(centres)))
    return torch.cat([torch.addmm(lengths, part, centres.T, alpha=-2).argmin(dim=1) for part in parts])


def _members(region: torch.Tensor, n_regions: int) -> list[torch.Tensor]:
    """Positions of the rows of each region, ascending."""
    order = torch.argsort(region, stable=True)
    return list(order.split(torch.bincount(region, minlength=n_regions).tolist()))


def _parts(rows: np.ndarray) -> int:
    """Parts to go through rows in, so that a part is small next to the whole."""
    return max(1, len(rows) // 2**17)
