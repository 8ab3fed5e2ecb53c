"""Place further cells on a map that is already laid out, each among its nearest cells of the latent."""

from collections.abc import Iterator

import numpy as np
import torch

N_SEARCHED = 16
"""Regions of the latent in which the nearest cells are looked for; of some 200, it finds 99.9 % of them."""

N_STEPS = 10
"""Steps from the median of the neighbours to the place; further ones move it by less than the scatter."""

SCATTER = 0.1
"""Scatter of a placed cell, as a share of its median distance to its neighbours on the map."""

BLOCK = 2**24
"""Distances that are held at a time, 4 bytes each."""


def place(
    latent: np.ndarray, laid_out: np.ndarray, points: np.ndarray, *, n_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    """Place every other cell where its nearest laid-out cells pull it.

    A cell comes to rest where the sum of pymde's attractive penalty ``log(1 + d ** 1.5)`` over its nearest laid-out
    cells is lowest. That is no mean: a cell between two groups goes to the one that has more of its neighbours, not to
    the empty middle. A little scatter keeps cells with the same neighbours apart.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent), float32.
    laid_out
        Rows of ``latent`` that have a place already, array of shape (n_laid_out,), ascending.
    points
        Their places, array of shape (n_laid_out, 2), float32.
    n_neighbors
        Nearest laid-out cells that pull a cell; at most n_laid_out.
    seed
        Seed of the regions and of the scatter.

    Returns
    -------
    Array of shape (n_cells, 2), float32, with ``points`` in the rows ``laid_out``. Beyond it and the latent, memory
    grows with ``BLOCK`` and n_laid_out only.
    """
    others = np.setdiff1d(np.arange(len(latent)), laid_out, assume_unique=True)
    scatter = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(others), 2), dtype=np.float32))
    places = torch.from_numpy(points)
    placed = torch.empty((len(others), 2))
    for rows, nearest in nearest_rows(latent, others, laid_out, k=n_neighbors, seed=seed):
        placed[rows] = _settle(places[nearest], scatter[rows])
    whole = np.empty((len(latent), 2), dtype=np.float32)
    whole[laid_out], whole[others] = points, placed.numpy()
    return whole


def nearest_rows(
    latent: np.ndarray, others: np.ndarray, laid_out: np.ndarray, *, k: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Nearest laid-out cells of the others, almost always the true ones, a block of cells at a time.

    The latent is cut into regions, the square root of n_laid_out of them, and the cells of a region are compared with
    the laid-out cells of the ``N_SEARCHED`` nearest regions only.

    Yields
    ------
    Positions in ``others``, shape (n_block,), and positions in ``laid_out``, shape (n_block, k), nearest first.
    """
    anchors = torch.from_numpy(latent[laid_out])
    middle = anchors.mean(dim=0)  # squared lengths stay small, so float32 keeps small distances
    anchors -= middle
    centres = _centres(anchors, seed)
    own = _members(_region(anchors, centres), len(centres))
    regions = [
        _region(torch.from_numpy(latent[part]) - middle, centres) for part in np.array_split(others, _parts(others))
    ]
    members = _members(torch.cat(regions), len(centres))
    by_distance = torch.cdist(centres, centres).argsort(dim=1)
    for asking, order in zip(members, by_distance, strict=True):
        n_searched = N_SEARCHED
        found = torch.cat([own[region] for region in order[:n_searched]])
        while len(found) < min(4 * k, len(anchors)):
            n_searched *= 2
            found = torch.cat([own[region] for region in order[:n_searched]])
        candidates = anchors[found]
        lengths = candidates.square().sum(dim=1)
        for rows in asking.split(max(1, BLOCK // len(found))):
            block = torch.from_numpy(latent[others[rows.numpy()]]) - middle
            # Squared distance but for the length of the cell's own row, which changes no order.
            distance = torch.addmm(lengths, block, candidates.T, alpha=-2)
            yield rows, found[distance.topk(k, dim=1, largest=False).indices]


def _settle(pulling: torch.Tensor, scatter: torch.Tensor) -> torch.Tensor:
    """Where cells come to rest among ``pulling``, shape (n_block, k, 2), moved by ``scatter``, shape (n_block, 2)."""
    xs, ys = pulling.unbind(dim=2)
    x, y = xs.median(dim=1, keepdim=True).values, ys.median(dim=1, keepdim=True).values
    for _ in range(N_STEPS):  # weighted means: the weight of a neighbour is the penalty's slope over its distance
        distance = torch.hypot(xs - x, ys - y).add_(1e-6)
        root = distance.sqrt()
        weight = distance.mul_(root).add_(1).mul_(root).reciprocal_()
        weight /= weight.sum(dim=1, keepdim=True)
        x, y = (weight * xs).sum(dim=1, keepdim=True), (weight * ys).sum(dim=1, keepdim=True)
    room = torch.hypot(xs - x, ys - y).median(dim=1, keepdim=True).values
    return torch.cat([x, y], dim=1) + scatter * (SCATTER * room + 1e-5)


def _centres(anchors: torch.Tensor, seed: int) -> torch.Tensor:
    """Centres of regions, shape (n_regions, n_latent), by a few steps of k-means."""
    n_regions = max(1, int(len(anchors) ** 0.5))
    chosen = np.random.default_rng(seed).choice(len(anchors), n_regions, replace=False)
    centres = anchors[torch.from_numpy(chosen)]
    for _ in range(5):
        region = _region(anchors, centres)
        size = torch.bincount(region, minlength=n_regions)[:, None]
        total = torch.zeros_like(centres).index_add_(0, region, anchors)
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
    """Parts to go through rows in, so that a part is small beside the whole."""
    return max(1, len(rows) // 2**17)
