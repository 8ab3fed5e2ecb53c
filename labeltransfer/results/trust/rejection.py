"""Rejection rules: unsure cells are left without a label; with coverage and error of a rule."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labeltransfer.params import UNKNOWN
from labeltransfer.results.scores.cells import codes_among

FARTHEST = 100.0
"""Percentile that no cell lies beyond."""


@dataclass(frozen=True)
class Rule:
    """Cells less sure than ``confidence`` or farther than ``distance`` (a percentile) are rejected."""

    confidence: float = 0.0
    distance: float = FARTHEST

    @property
    def active(self) -> bool:
        """Whether it could reject any cell at all."""
        return self.confidence > 0 or self.distance < FARTHEST


KEEP_ALL = Rule()


@dataclass(frozen=True)
class Readout:
    """What a rule leaves of some cells; shares are NaN where nothing is in the denominator.

    ``expected_error`` is one less the mean calibrated confidence of the cells kept. ``error`` is the share of the kept
    cells with a scored observed label (``n_scored`` of them) whose label differs.
    """

    n_cells: int
    n_kept: int
    expected_error: float
    n_scored: int
    error: float

    @property
    def coverage(self) -> float:
        """Share of the cells that keep their label."""
        return self.n_kept / self.n_cells if self.n_cells else float("nan")


def rejected(cells: pd.DataFrame, rule: Rule) -> np.ndarray:
    """Which cells a rule rejects, shape (n_cells,).

    ``cells`` has ``confidence`` and, unless the run is older than that column, ``distance_percentile``.
    """
    out = cells["confidence"].to_numpy() < rule.confidence
    if rule.distance < FARTHEST and "distance_percentile" in cells:
        out |= cells["distance_percentile"].to_numpy() > rule.distance
    return out


def readout(cells: pd.DataFrame, rule: Rule, known: list[str]) -> Readout:
    """Coverage and error of a rule over some cells; ``known`` are the labels that can be predicted."""
    kept = ~rejected(cells, rule)
    observed, predicted = (codes_among(cells[f"{name}_label"], known) for name in ("observed", "predicted"))
    scored = kept & (observed >= 0)
    wrong = scored & (observed != predicted)
    confidence = cells["confidence"].to_numpy(dtype=float)[kept]
    n_scored = int(scored.sum())
    return Readout(
        len(cells),
        int(kept.sum()),
        1 - float(confidence.mean()) if len(confidence) else float("nan"),
        n_scored,
        int(wrong.sum()) / n_scored if n_scored else float("nan"),
    )


def with_unknown(labels: pd.Series, out: np.ndarray) -> pd.Series:
    """Labels with ``Unknown`` where ``out``, bool array of the same length, is True."""
    return labels.astype(object).where(~out, UNKNOWN)
