"""Whether a run's labels should be believed at all: judged without a single observed label of the query.

scANVI's own output does not show a failed transfer. Three things do: a classifier on the genes disagrees with it, the
query lies apart from the labelled cells in the latent, and the two sides do not mix there.
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
SURE = 0.7
"""Calibrated probability from which logistic regression is sure of a cell. Cells of labels that the reference lacks it
mostly is not, so they do not count as disagreement."""
DOUBTED, FAILED = 0.1, 0.2
"""Share of these query cells that scANVI calls something else: a doubt, and an alarm. In simulated and real
runs it was 0.03 and 0.04 where scANVI was right in 0.93 and 0.95 of the scored cells, 0.10 to 0.15 at 0.87 to 0.78,
0.24 at 0.80 and 0.77, and 0.43 at 0.50 and 0.36."""
APART = 0.5
"""Share of query cells beyond ``FAR`` from which the query lies apart: 0.06 in good runs, 0.98 to 1 in those two. It is
no alarm alone, for scANVI can bridge what scVI did not."""
UNMIXED = 0.2
"""Mixing below which the sides lie apart. It gives no alarm either: a different composition has the same effect."""


@dataclass(frozen=True)
class Alarm:
    """How far a run's labels as a whole can be believed.

    ``level`` is ``ok``, ``doubt`` or ``alarm``; ``reasons`` are sentences for the first screen. ``disagreement`` is the
    share of the query cells that logistic regression is sure of to which scANVI gives another label, and
    ``disagreement_reference`` the same share of held-out reference cells. ``far`` is the share of query cells beyond
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


def judge(table: pd.DataFrame, is_query: np.ndarray, held_out: np.ndarray, *, mixed: float) -> Alarm:
    """Judge a run by its query cells.

    Parameters
    ----------
    table
        A row a cell with ``predicted_label``, ``regression_label``, ``regression_confidence`` and
        ``distance_percentile``.
    is_query, held_out
        Which cells are the query's, and which are held-out reference cells, shape (n_cells,).
    mixed
        See :func:`mixing`.
    """
    differ = (table["predicted_label"].astype(object) != table["regression_label"].astype(object)).to_numpy()
    far = table["distance_percentile"].to_numpy() > FAR
    sure = table["regression_confidence"].to_numpy() >= SURE
    query, reference = _mean(differ[is_query & sure]), _mean(differ[held_out & sure])
    beyond = float(far[is_query].mean())
    reasons = []
    if query > DOUBTED:
        reasons.append(
            f"Of the query cells that logistic regression on the genes is sure of, scANVI calls {query:.0%} something "
            "else" + ("." if np.isnan(reference) else f"; of held-out reference cells {reference:.0%}.")
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
