"""Whether a run's labels should be believed at all: judged without a single observed label of the query.

scANVI's own output does not show a failed transfer. Three things do: methods that fail differently disagree on the
query, it lies apart from the labelled cells in the latent, and the two sides do not mix there.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

FAR = 99.0
"""Percentile of the reference's own distances beyond which a cell lies far from every labelled cell."""
N_MIXED = 2000
"""Cells of each side that mixing is measured on, at most."""
N_NEIGHBOURS = 15
DOUBTED, FAILED = 0.12, 0.20
"""Mean share of the methods with a vote that give a query cell another label than the one handed out: a doubt, and an
alarm. Over twenty real pairs, by scANVI's label or the consensus, it was at most 0.12 in 14 of the 15 runs that were
right in more than 0.9 of the scored cells, and above 0.2 in nine of the eleven below 0.77."""
APART = 0.5
"""Share of query cells beyond ``FAR`` from which the query lies apart: 0.06 in good runs, 0.98 to 1 in two that
failed. It is no alarm alone, for scANVI can bridge what scVI did not."""
UNMIXED = 0.2
"""Mixing below which the sides lie apart. It gives no alarm either: a different composition has the same effect."""


@dataclass(frozen=True)
class Alarm:
    """How far a run's labels as a whole can be believed.

    ``level`` is ``ok``, ``doubt`` or ``alarm``; ``reasons`` are sentences for the first screen. ``disagreement`` is the
    mean share of the methods with a vote that give a query cell another label than the one handed out, and
    ``disagreement_reference`` the same of held-out reference cells. ``far`` is the share of query cells beyond
    the ``FAR`` percentile of the reference's own distances, ``mixing`` the share of reference cells among a query
    cell's neighbours over that expected at random.
    """

    level: str
    reasons: tuple[str, ...]
    disagreement: float
    disagreement_reference: float
    far: float
    mixing: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data, None where a number is not known."""
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(self).items()}


def mixing(latent: np.ndarray, is_query: np.ndarray, *, seed: int = 0) -> float:
    """How well the two sides mix in a latent: 1 as at random, 0 not at all.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent).
    is_query
        Shape (n_cells,).

    Returns
    -------
    Mean share of reference cells among the ``N_NEIGHBOURS`` nearest of a query cell, over their share among all that
    are looked at: as many of each side, at most ``N_MIXED``. NaN where a side has fewer than two cells.
    """
    rng = np.random.default_rng(seed)
    sides = [np.flatnonzero(is_query == side) for side in (False, True)]
    n_each = min(N_MIXED, *map(len, sides))
    if n_each < 2:
        return float("nan")
    rows = np.concatenate([rng.choice(side, n_each, replace=False) for side in sides])
    k = min(N_NEIGHBOURS, len(rows) - 1)
    asked = latent[rows[n_each:]]
    near = NearestNeighbors(n_neighbors=k + 1).fit(latent[rows]).kneighbors(asked, return_distance=False)[:, 1:]
    return float((near < n_each).mean() / (n_each / (len(rows) - 1)))


def judge(
    agreement: np.ndarray, distance_percentile: np.ndarray, is_query: np.ndarray, held_out: np.ndarray, *, mixed: float
) -> Alarm:
    """Judge a run by its query cells.

    Parameters
    ----------
    agreement
        Share of the methods that give each cell its label, see :func:`.consensus.agreement_share`, shape (n_cells,);
        NaN where no other method was asked.
    distance_percentile
        See :mod:`.distance`, shape (n_cells,).
    is_query, held_out
        Which cells are the query's, and which are held-out reference cells, shape (n_cells,).
    mixed
        See :func:`mixing`.
    """
    query, reference = 1 - _mean(agreement[is_query]), 1 - _mean(agreement[held_out])
    beyond = float((distance_percentile[is_query] > FAR).mean())
    reasons = []
    if np.isnan(query):
        reasons.append("No other classifier was asked, so nothing shows how far these labels can be trusted.")
    elif query > DOUBTED:
        reasons.append(
            f"On average {query:.0%} of the classifiers give a query cell another label"
            + ("." if np.isnan(reference) else f"; a held-out reference cell {reference:.0%}.")
        )
    apart = beyond > APART
    if apart:
        reasons.append(
            f"{beyond:.0%} of the query cells lie farther from labelled cells than 99 % of the reference cells do."
        )
    if reasons and mixed < UNMIXED:
        reasons.append(f"The two sides hardly mix in the latent: {mixed:.2f}, where 1 is as at random.")
    failed = query > FAILED or (query > DOUBTED and apart)
    level = "alarm" if failed else "doubt" if reasons else "ok"
    return Alarm(level, tuple(reasons), query, reference, beyond, mixed)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
