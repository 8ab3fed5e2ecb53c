"""Labels of scANVI and the other classifiers, cell by cell: calibrated, weighted and combined."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from labeltransfer.classifiers import VOTERS
from labeltransfer.results.scores.cells import CONSENSUS
from labeltransfer.results.trust.confidence import (
    Reliability,
    calibrated,
    cross_calibrated,
    fit_temperature,
    reliability,
)

SCANVI = "scanvi"

VOTES = {SCANVI: 1.0} | {voter.name: voter.vote for voter in VOTERS}
"""Votes in the consensus, before accuracy counts."""

EMPHASIS = 2
"""Power of a method's held-out accuracy that its vote is weighed by. A method that fails there hardly votes; smaller
differences say little about the query: over twelve real pairs, accuracy on held-out reference cells correlated 0.44
with that on the query."""

TEMPERATURE = 0.6
"""Of the consensus. The mean of methods that fail differently is less sure than it is right, and held-out reference
cells do not show by how much, for there they agree. Of nine real pairs this number had the smallest calibration error
on the query (0.07), and of eleven others too (0.06; 0.08 by a temperature fitted on held-out cells)."""

Answer = Literal["consensus", "scanvi"]
"""Whose label is handed out as the predicted one."""


def held_out_report(
    soft: pd.DataFrame, labels: np.ndarray, *, temperature: float | None = None, seed: int = 0
) -> dict[str, Any]:
    """How well a method does on held-out reference cells, and what calibrating it changes there.

    Parameters
    ----------
    soft
        Its probabilities of the held-out cells, shape (n_held_out, n_labels), as they come from the method.
    labels
        Their observed labels, shape (n_held_out,).
    temperature
        What it is calibrated by; None fits one on these cells.
    seed
        Seed of the folds in which it is judged.

    Returns
    -------
    ``n_cells``, ``accuracy``, ``macro_f1``, ``temperature`` and, before and after calibration, ``ece`` and the
    ``reliability`` curve; after is judged on cells that the temperature was not fitted on. None without
    held-out cells.
    """
    n_cells, given = len(labels), 1.0 if temperature is None else temperature
    if not n_cells:
        return {"n_cells": 0, "accuracy": None, "macro_f1": None, "temperature": given, "before": None, "after": None}
    labels = labels.astype(str)
    predicted = names(soft)[soft.to_numpy().argmax(axis=1)]
    after = cross_calibrated(soft, labels, seed=seed) if temperature is None else calibrated(soft, temperature)
    return {
        "n_cells": n_cells,
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0)),
        "temperature": fit_temperature(soft, labels) if temperature is None else temperature,
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


@dataclass(frozen=True)
class Weighed:
    """Probabilities of all methods, and of the consensus, by name: frames of shape (n_cells, n_labels).

    ``raw`` are as they came, ``calibrated`` as they are believed; ``reports`` are :func:`held_out_report` of each, and
    ``voters`` the names of the methods with a vote.
    """

    raw: dict[str, pd.DataFrame]
    calibrated: dict[str, pd.DataFrame]
    reports: dict[str, dict[str, Any]]
    voters: list[str]


def weigh(
    softs: Mapping[str, pd.DataFrame],
    held_out: np.ndarray,
    labels: np.ndarray,
    *,
    unseen: np.ndarray | None = None,
    seed: int = 0,
) -> Weighed:
    """Calibrate the methods on held-out cells and put their consensus together.

    Parameters
    ----------
    softs
        Probabilities of each method, scANVI among them, shape (n_cells, n_labels), with the same columns.
    held_out
        Rows of the cells that no method was trained on, shape (n_held_out,).
    labels
        Label of each cell, shape (n_cells,).
    unseen
        Which cells no method sees anything of, shape (n_cells,): all their labels are equally probable, whatever a
        method makes of no counts.
    seed
        Seed of the folds that calibration is judged in.
    """
    if unseen is not None and unseen.any():
        softs = {name: _equal(soft, unseen) for name, soft in softs.items()}

    def report(soft: pd.DataFrame, temperature: float | None = None) -> dict[str, Any]:
        return held_out_report(soft.iloc[held_out], labels[held_out], temperature=temperature, seed=seed)

    raw, reports = dict(softs), {name: report(soft) for name, soft in softs.items()}
    believed = {name: calibrated(soft, reports[name]["temperature"]) for name, soft in raw.items()}
    voters = [name for name in softs if VOTES[name]]
    raw[CONSENSUS] = consensus_soft(believed, {name: found["accuracy"] for name, found in reports.items()})
    reports[CONSENSUS] = report(raw[CONSENSUS], TEMPERATURE if len(voters) > 1 else 1.0)
    believed[CONSENSUS] = calibrated(raw[CONSENSUS], reports[CONSENSUS]["temperature"])
    return Weighed(raw, believed, reports, voters)


def _equal(soft: pd.DataFrame, cells: np.ndarray) -> pd.DataFrame:
    values = soft.to_numpy(dtype=np.float32, copy=True)
    values[cells] = 1 / soft.shape[1]
    return pd.DataFrame(values, index=soft.index, columns=soft.columns)


def opinion_table(
    softs: Mapping[str, pd.DataFrame], raw: pd.DataFrame, *, answer: Answer = "consensus"
) -> pd.DataFrame:
    """Put the methods' labels together, cell by cell, and the one that is handed out.

    Parameters
    ----------
    softs
        Calibrated probabilities of each method, scANVI and the consensus among them, frames of shape
        (n_cells, n_labels) with the same columns.
    raw
        The probabilities of ``answer`` before they were calibrated, likewise.
    answer
        Whose label is the predicted one.

    Returns
    -------
    One row a cell. Of the label that is handed out: ``predicted_label`` and ``second_label``, the answer's two
    likeliest, ``confidence`` and ``second_confidence``, their calibrated probabilities, ``raw_confidence`` as it came,
    ``agreement``, how many methods with a vote give that label, and ``decided_by``, the answer. Of each method, the
    consensus included: ``NAME_label`` and ``NAME_confidence``.
    """
    columns = softs[answer].columns
    labels, handed_out = pd.Index(names(softs[answer])), softs[answer].to_numpy()
    order = np.argsort(-handed_out, axis=1, kind="stable")
    rows, best = np.arange(len(order)), order[:, 0]
    second = order[:, 1] if len(labels) > 1 else np.full(len(order), -1)
    table: dict[str, Any] = {
        "predicted_label": _labels(best, labels),
        "second_label": _labels(second, labels),
        "confidence": handed_out[rows, best],
        "second_confidence": handed_out[rows, second] if len(labels) > 1 else np.float32(np.nan),
        "raw_confidence": raw[columns].to_numpy(dtype=np.float32)[rows, best],
    }
    agreement = np.zeros(len(order), np.int8)
    for name, soft in softs.items():
        values = soft[columns].to_numpy()
        own = values.argmax(axis=1)
        if VOTES.get(name):
            agreement += own == best
        table[f"{name}_label"] = _labels(own, labels)
        table[f"{name}_confidence"] = values[rows, own]
    decided_by = pd.Categorical.from_codes(np.zeros(len(order), int).tolist(), pd.Index([answer]))
    return pd.DataFrame(table | {"agreement": agreement, "decided_by": decided_by})


def _labels(codes: np.ndarray, labels: pd.Index) -> pd.Categorical:
    """Categories from their places in ``labels``; -1 is none."""
    return pd.Categorical.from_codes(codes.tolist(), labels)


def agreement_share(agreement: np.ndarray, n_voters: int, answer: Answer) -> np.ndarray:
    """Share of the methods with a vote that give each cell its label; of those besides scANVI where it is the answer.

    Parameters
    ----------
    agreement
        As in :func:`opinion_table`, shape (n_cells,).
    n_voters
        Methods with a vote, scANVI included.
    answer
        Whose label is the predicted one.

    Returns
    -------
    Shape (n_cells,), 0 to 1; NaN where nobody but scANVI has a vote.
    """
    if n_voters < 2:
        return np.full(len(agreement), np.nan)
    itself = 1 if answer == SCANVI else 0
    return (agreement - itself) / (n_voters - itself)


def names(soft: pd.DataFrame) -> np.ndarray:
    """Labels of a frame of probabilities, shape (n_labels,), text."""
    return np.array([str(label) for label in soft.columns], dtype=object)


def best_method(reports: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Method with the highest macro-F1 on held-out reference cells, the first of equals; None where none was judged."""
    judged = {name: report["macro_f1"] for name, report in reports.items() if report["macro_f1"] is not None}
    return max(judged, key=lambda name: judged[name]) if judged else None
