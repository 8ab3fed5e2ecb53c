"""Labels of scANVI and the other classifiers, cell by cell: calibrated, weighted and combined."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from labeltransfer.classifiers import VOTERS
from labeltransfer.results.scores.cells import CONSENSUS
from labeltransfer.results.trust.confidence import (
    Reliability,
    cross_calibrated,
    fit_temperature,
    reliability,
)

SCANVI = "scanvi"

VOTES = {SCANVI: 1.0} | {voter.name: voter.vote for voter in VOTERS}
"""Votes in the consensus, before accuracy counts."""

EMPHASIS = 8
"""Power of a method's held-out accuracy that its vote is weighed by: at 0.9 it keeps 0.43 of it, at 0.5 next to
nothing. On two simulated shifts where scANVI was right in 0.50 and 0.36 of the cells, the consensus rose by it from
0.69 and 0.56 to 0.75 and 0.70; on five good runs it moved by less than two points."""


def held_out_report(soft: pd.DataFrame, labels: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """How well a method does on held-out reference cells, and what calibrating it changes there.

    Parameters
    ----------
    soft
        Its probabilities of the held-out cells, shape (n_held_out, n_labels), as they come from the method.
    labels
        Their observed labels, shape (n_held_out,).

    Returns
    -------
    ``n_cells``, ``accuracy``, ``macro_f1``, ``temperature`` and, before and after calibration, ``ece`` and the
    ``reliability`` curve; after is judged on cells that the temperature was not fitted on. None without
    held-out cells.
    """
    n_cells = len(labels)
    if not n_cells:
        return {"n_cells": 0, "accuracy": None, "macro_f1": None, "temperature": 1.0, "before": None, "after": None}
    labels = labels.astype(str)
    predicted = names(soft)[soft.to_numpy().argmax(axis=1)]
    after = cross_calibrated(soft, labels, seed=seed)
    return {
        "n_cells": n_cells,
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0)),
        "temperature": fit_temperature(soft, labels),
        "before": curve(reliability(soft.to_numpy().max(axis=1), predicted == labels)),
        "after": curve(reliability(after.to_numpy().max(axis=1), predicted == labels)),
    }


def curve(found: Reliability) -> dict[str, Any]:
    """A reliability curve as plain data."""
    ece = found.ece
    return {
        "ece": None if np.isnan(ece) else ece,
        "confidence": found.confidence.tolist(),
        "accuracy": found.accuracy.tolist(),
        "n_cells": found.n_cells.tolist(),
    }


def consensus_soft(softs: Mapping[str, pd.DataFrame], accuracies: Mapping[str, float | None]) -> pd.DataFrame:
    """Weighted mean of the methods' calibrated probabilities, shape (n_cells, n_labels); rows sum to 1.

    Parameters
    ----------
    softs
        Calibrated probabilities of each method, frames of shape (n_cells, n_labels) with the same columns.
    accuracies
        Share of held-out reference cells that each method gets right; None where there are none.
    """
    first = softs[SCANVI]
    total = np.zeros(first.shape, np.float32)
    for name, soft in softs.items():
        accuracy = accuracies[name]
        weight = VOTES[name] * (1.0 if accuracy is None else accuracy**EMPHASIS)
        total += weight * soft[first.columns].to_numpy()
    total /= np.maximum(total.sum(axis=1, keepdims=True), np.float32(1e-12))
    return pd.DataFrame(total, index=first.index, columns=first.columns)


def opinion_table(scanvi: pd.DataFrame, softs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the methods' probabilities together, cell by cell.

    Parameters
    ----------
    scanvi
        scANVI's probabilities as they came, shape (n_cells, n_labels).
    softs
        Calibrated probabilities of each method, scANVI among them, and of the consensus, likewise and with the same
        columns.

    Returns
    -------
    One row a cell: ``confidence`` and ``second_confidence``, scANVI's calibrated probabilities of its two likeliest
    labels, and ``raw_confidence`` as it came; ``NAME_label`` and ``NAME_confidence`` of each other method and of the
    consensus; ``agreement``, how many methods give scANVI's label, itself included (1 to the number of methods).
    """
    labels, scanvi_code = pd.Index(names(scanvi)), scanvi.to_numpy().argmax(axis=1)
    two = np.sort(softs[SCANVI].to_numpy(), axis=1)[:, -2:]
    table: dict[str, Any] = {
        "raw_confidence": scanvi.to_numpy(dtype=np.float32).max(axis=1),
        "confidence": two[:, -1],
        "second_confidence": two[:, 0] if scanvi.shape[1] > 1 else np.float32(np.nan),
    }
    agreement = np.zeros(len(scanvi), np.int8)
    for name, soft in softs.items():
        values = soft[scanvi.columns].to_numpy()
        predicted = values.argmax(axis=1)
        if name != CONSENSUS:
            agreement += predicted == scanvi_code
        if name != SCANVI:
            table[f"{name}_label"] = pd.Categorical.from_codes(predicted.tolist(), labels)
            table[f"{name}_confidence"] = values[np.arange(len(predicted)), predicted]
    return pd.DataFrame(table | {"agreement": agreement})


def names(soft: pd.DataFrame) -> np.ndarray:
    """Labels of a frame of probabilities, shape (n_labels,), text."""
    return np.array([str(label) for label in soft.columns], dtype=object)


def best_method(reports: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Method with the highest macro-F1 on held-out reference cells, the first of equals; None where none was judged."""
    judged = {name: report["macro_f1"] for name, report in reports.items() if report["macro_f1"] is not None}
    return max(judged, key=lambda name: judged[name]) if judged else None
