"""Whether a run's labels should be believed at all: told without a single observed label of the query.

Nothing in scANVI's own output gives a failed transfer away. Three things do: a classifier that looks at the genes
disagrees with it, the query lies apart from the labelled cells in the latent, and the two sides do not mix there.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

FAR = 99.0
"""Percentile of the reference's own distances beyond which a cell lies far from every labelled cell."""
N_MIXED = 2000
"""Cells of each side that mixing is measured on, at most."""
N_NEIGHBOURS = 15
DOUBTED, FAILED = 0.3, 0.4
"""Share of query cells on which scANVI and logistic regression differ: worth a word, and worth an alarm. Labels that
the reference lacks bring it to 0.2 in good runs; in simulated shifts where scANVI was right in 0.50 and 0.36 of the
cells it was 0.53 and 0.66."""
APART = 0.5
"""Share of query cells beyond ``FAR`` from which the query lies apart: 0.06 in good runs, 0.98 to 1 in those two. It is
no alarm alone, for scANVI can bridge what scVI did not."""
UNMIXED = 0.2
"""Mixing below which the sides lie apart. It gives no alarm either: a composition of its own does the same."""


@dataclass(frozen=True)
class Alarm:
    """How far a run's labels as a whole can be believed.

    ``level`` is ``ok``, ``doubt`` or ``alarm``; ``reasons`` are sentences for the first screen. ``disagreement`` is the
    share of query cells on which scANVI and logistic regression on the genes differ, ``disagreement_reference`` the
    same share of held-out reference cells, ``far`` the share of query cells beyond the ``FAR`` percentile of the
    reference's own distances, ``mixing`` the share of reference cells among a query cell's neighbours over that
    expected at random.
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


def judge(table: pd.DataFrame, is_query: np.ndarray, held_out: np.ndarray, *, mixed: float) -> Alarm:
    """Judge a run by its query cells.

    Parameters
    ----------
    table
        A row a cell with ``predicted_label``, ``regression_label`` and ``distance_percentile``.
    is_query, held_out
        Which cells are the query's, and which are held-out reference cells, shape (n_cells,).
    mixed
        See :func:`mixing`.
    """
    differ = (table["predicted_label"].astype(object) != table["regression_label"].astype(object)).to_numpy()
    far = table["distance_percentile"].to_numpy() > FAR
    query, reference = float(differ[is_query].mean()), _mean(differ[held_out])
    beyond = float(far[is_query].mean())
    reasons = []
    if query > DOUBTED:
        reasons.append(
            f"scANVI and logistic regression on the genes differ on {query:.0%} of the query cells"
            + ("." if np.isnan(reference) else f", on held-out reference cells on {reference:.0%}.")
        )
    apart = beyond > APART
    if apart:
        reasons.append(
            f"{beyond:.0%} of the query cells lie farther from labelled cells than 99 % of the reference cells do."
        )
    if reasons and mixed < UNMIXED:
        reasons.append(f"The two sides hardly mix in the scVI latent: {mixed:.2f}, where 1 is as at random.")
    failed = query > FAILED or (query > DOUBTED and apart)
    level = "alarm" if failed else "doubt" if reasons else "ok"
    return Alarm(level, tuple(reasons), query, reference, beyond, mixed)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
