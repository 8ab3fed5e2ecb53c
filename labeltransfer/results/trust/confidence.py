"""Confidence, calibrated on held-out reference cells, and how well calibrated it is.

A probability of 0.9 should be right in nine cells of ten. scANVI's are not: nearly all are close to 1. One number, the
temperature, is fitted on labelled reference cells that the model was not trained on, and divides the logarithms of its
probabilities. The order of the labels stays, so no label changes.

It is fitted on the reference's technology: where the query differs from it in ways that the models did not bridge, the
query's confidence is still too high.

Source: Guo et al., On calibration of modern neural networks, ICML 2017. The targets are smoothed by one cell in all, as
in Platt, Probabilistic outputs for support vector machines, 1999: a handful of held-out cells that are all right are no
proof that every cell is.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

N_BINS = 10
N_FOLDS = 5
SMALLEST = 1e-6
"""Floor of the probabilities: a classifier that votes can give 0, whose logarithm is not finite."""
FEWEST = 20
"""Held-out cells that a temperature is fitted on, at least; with fewer it stays at 1."""
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Reliability:
    """How often the cells of each range of confidence were right: arrays of shape (n_bins,), empty ranges left out."""

    confidence: np.ndarray
    accuracy: np.ndarray
    n_cells: np.ndarray

    def __post_init__(self) -> None:
        if not self.confidence.shape == self.accuracy.shape == self.n_cells.shape:
            raise ValueError("confidence, accuracy and n_cells differ in shape")

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy, weighted by cells; NaN without any."""
        if not self.n_cells.sum():
            return float("nan")
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.n_cells))


def fit_temperature(soft: pd.DataFrame, labels: np.ndarray) -> float:
    """Temperature that makes the observed labels of held-out cells most likely.

    Parameters
    ----------
    soft
        Probabilities of held-out cells, shape (n_held_out, n_labels), columns are labels.
    labels
        Their observed labels, shape (n_held_out,), all of them columns of ``soft``.

    Returns
    -------
    Above 1 where the probabilities were too sure, below where they were not sure enough; 1 where fewer than ``FEWEST``
    cells were held out.
    """
    n_cells, n_labels = soft.shape
    if n_cells < FEWEST or n_labels < 2:
        return 1.0
    scores, truth = _scores(soft), _codes(soft, labels)
    doubt = 1 / (n_cells + 1)

    def loss(logarithm: float) -> float:
        likely = log_softmax(scores / np.exp(logarithm), axis=1)
        return -float((1 - doubt) * likely[np.arange(n_cells), truth].mean() + doubt * likely.mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded").x))


def calibrated(soft: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """Probabilities at a temperature, shape and labels as given, float32; rows sum to 1, no cell's label changes."""
    values = softmax(_scores(soft) / temperature, axis=1).astype(np.float32)
    return pd.DataFrame(values, index=soft.index, columns=soft.columns)


def cross_calibrated(soft: pd.DataFrame, labels: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Held-out cells' probabilities, each calibrated by a temperature fitted without it.

    Parameters
    ----------
    soft, labels
        As for :func:`fit_temperature`.
    seed
        Seed of the folds.
    """
    fold = np.random.default_rng(seed).permutation(np.arange(len(soft)) % N_FOLDS)
    parts = [
        calibrated(soft[fold == i], fit_temperature(soft[fold != i], labels[fold != i]))
        for i in range(N_FOLDS)
        if (fold == i).any()
    ]
    return pd.concat(parts).loc[soft.index] if parts else soft


def reliability(confidence: np.ndarray, right: np.ndarray, *, n_bins: int = N_BINS) -> Reliability:
    """Confidence against accuracy, in ranges of equal width.

    Parameters
    ----------
    confidence
        Probability of the predicted label, shape (n_cells,), 0 to 1.
    right
        Whether the predicted label is the observed one, shape (n_cells,).
    """
    bins = np.minimum((np.asarray(confidence, float) * n_bins).astype(int), n_bins - 1)
    n_cells = np.bincount(bins, minlength=n_bins)
    some = n_cells > 0
    mean = np.bincount(bins, weights=confidence, minlength=n_bins)[some] / n_cells[some]
    accuracy = np.bincount(bins, weights=right, minlength=n_bins)[some] / n_cells[some]
    return Reliability(mean, accuracy, n_cells[some])


def risk_coverage(score: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error among the cells kept, as fewer and fewer are kept.

    Parameters
    ----------
    score
        What cells are kept by, the highest first, shape (n_cells,).
    right
        Whether their labels are right, shape (n_cells,).

    Returns
    -------
    Coverage (share of cells kept) and risk (share of them that is wrong), arrays of shape (n_cells,), the fewest first.
    The mean of the risk is the area under the curve (Geifman and El-Yaniv, NeurIPS 2017).
    """
    order = np.argsort(-np.asarray(score), kind="stable")
    n_kept = np.arange(1, len(order) + 1)
    return n_kept / max(len(order), 1), np.cumsum(~np.asarray(right, bool)[order]) / n_kept


def _scores(soft: pd.DataFrame) -> np.ndarray:
    return np.log(np.maximum(soft.to_numpy(dtype=np.float32), SMALLEST))


def _codes(soft: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    codes = pd.Index(map(str, soft.columns)).get_indexer(pd.Index(np.asarray(labels).astype(str)))
    if (codes < 0).any():
        raise ValueError(f"The label '{labels[codes < 0][0]}' is none of the {soft.shape[1]} that can be predicted")
    return codes
