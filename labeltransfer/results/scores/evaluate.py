"""Predictions against observed labels: scores and the confusion matrix."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from labeltransfer.params import Side
from labeltransfer.results.scores.cells import CONSENSUS, METHODS

Normalize = Literal["observed", "predicted", "none"]


def reference_labels(cells: pd.DataFrame) -> list[str]:
    """Labels that reference cells have, in alphabetical order, less a hidden one: those that can be predicted."""
    trained_on = cells["side"] == "reference"
    if "hidden" in cells:  # in runs that hide a label
        trained_on &= ~cells["hidden"]
    return sorted(map(str, cells.loc[trained_on, "observed_label"].dropna().unique()))


def pair_counts(cells: pd.DataFrame, *, side: Side = "query") -> pd.DataFrame:
    """Cells of one side that have an observed label, by observed (rows) and predicted label (columns).

    Labels are in alphabetical order, only those that such cells have. All scores are made from these few numbers:
    counting categories takes milliseconds where comparing a million texts takes seconds.
    """
    own = cells.loc[cells["side"] == side, ["observed_label", "predicted_label"]].dropna(subset="observed_label")
    if own.empty:
        return pd.DataFrame(dtype=int)
    counts = own.groupby(["observed_label", "predicted_label"], observed=True).size().unstack(fill_value=0)
    counts.index, counts.columns = pd.Index(counts.index.astype(str)), pd.Index(counts.columns.astype(str))
    return counts.sort_index(axis=0).sort_index(axis=1)


def _given(cells: pd.DataFrame, side: Side) -> pd.Series:
    """Cells of one side by predicted label, labels that no cell was given left out."""
    given = cells.loc[cells["side"] == side, "predicted_label"].value_counts()
    return given[given > 0].rename(index=str)


def _ratios(pairs: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Right, observed and predicted cells of each label, and what follows; NaN where the denominator is 0."""
    square = pairs.reindex(index=labels, columns=labels, fill_value=0).to_numpy(dtype=float)
    right, support = np.diag(square), pairs.sum(axis=1).reindex(labels, fill_value=0).to_numpy(dtype=int)
    called = pairs.sum(axis=0).reindex(labels, fill_value=0).to_numpy(dtype=int)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "label": labels,
                "precision": right / called,
                "recall": right / support,
                "f1": np.where(support > 0, 2 * right / (support + called), np.nan),
                "support": support,
            }
        )


def metrics(cells: pd.DataFrame) -> dict[str, Any]:
    """Scores of a run, ready to be written as JSON.

    Returns
    -------
    ``query`` and ``reference`` hold ``n_cells``, ``n_scored``, ``n_correct``, ``accuracy``, ``macro_f1``, ``n_labels``
    (those that scored cells have, over which the macro-F1 is the mean), ``n_unlabelled`` and
    ``labels_missing_in_reference`` (label to number of cells). The reference cells are those that scANVI was trained
    on, so their scores say how well it fits, not how well it predicts. ``per_label`` is :func:`per_label` of the query.
    Scores are None where nothing can be scored.
    """
    return {
        "query": _scores(cells, "query"),
        "reference": {"trained_on": True, **_scores(cells, "reference")},
        "per_label": [
            {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
            for row in per_label(cells).to_dict("records")
        ],
    }


def method_scores(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Scores of each method that was asked over the query's scored cells: scANVI, the panel and their consensus.

    Returns
    -------
    Method to ``accuracy``, ``macro_f1``, ``n_correct`` and ``n_scored``, see :func:`metrics`; None and 0 where nothing
    can be scored.
    """
    kept = ("accuracy", "macro_f1", "n_correct", "n_scored")
    columns = [name for name in ("side", "observed_label", "hidden") if name in cells]
    found = {}
    for method in (*METHODS, CONSENSUS):
        if f"{method}_label" not in cells:  # it was left out, or failed
            continue
        scores = _scores(cells[columns].assign(predicted_label=cells[f"{method}_label"]), "query")
        found[method] = {key: scores[key] for key in kept}
    return found


def _scores(cells: pd.DataFrame, side: Side) -> dict[str, Any]:
    pairs, known = pair_counts(cells, side=side), reference_labels(cells)
    judged = pairs[pairs.index.isin(known)]
    n_cells, n_scored = int((cells["side"] == side).sum()), int(judged.to_numpy().sum())
    labels = list(judged.index)
    ratios = _ratios(judged, labels)
    n_correct = int(np.diag(judged.reindex(columns=labels, fill_value=0).to_numpy()).sum())
    missing = pairs[~pairs.index.isin(known)].sum(axis=1).sort_values(ascending=False, kind="stable")
    return {
        "n_cells": n_cells,
        "n_scored": n_scored,
        "n_correct": n_correct,
        "accuracy": n_correct / n_scored if n_scored else None,
        "macro_f1": float(ratios["f1"].mean()) if n_scored else None,
        "n_labels": len(labels),
        "n_unlabelled": n_cells - int(pairs.to_numpy().sum()),
        "labels_missing_in_reference": {str(label): int(n) for label, n in missing.items()},
    }


def per_label(cells: pd.DataFrame, *, side: Side = "query") -> pd.DataFrame:
    """Scores of each label over the scored cells of one side: those whose observed label the reference has.

    Returns
    -------
    One row for each label that scored cells have or that cells of that side were given: ``label``, ``precision`` (NaN
    where no scored cell was given it), ``recall`` and ``f1`` (NaN where no scored cell has it), ``support`` (scored
    cells that have it) and ``n_predicted`` (all cells of that side that were given it).
    """
    pairs, given = pair_counts(cells, side=side), _given(cells, side)
    judged = pairs[pairs.index.isin(reference_labels(cells))]
    labels = sorted(set(judged.index) | set(given.index))
    return _ratios(judged, labels).assign(n_predicted=given.reindex(labels, fill_value=0).to_numpy(dtype=int))


def confusion(cells: pd.DataFrame, *, side: Side = "query", normalize: Normalize = "observed") -> pd.DataFrame:
    """Confusion matrix in long form, of all cells of one side that have an observed label.

    Parameters
    ----------
    cells
        The table of cells.
    side
        Which cells; the reference's are those that scANVI was trained on.
    normalize
        What ``share`` is a share of: the cells with the observed label (rows add up to 1), those with the predicted
        label (columns add up to 1), or all (``none``).

    Returns
    -------
    One row for each pair of an observed label and a label that was predicted or observed and can be predicted, zeros
    included: ``observed_label``, ``predicted_label``, ``n_cells``, ``share`` (0 where the denominator
    is 0), ``in_reference`` (whether the reference has the observed label). Empty where no cell has a label.
    """
    pairs, known = pair_counts(cells, side=side), reference_labels(cells)
    rows = list(pairs.index)
    columns = sorted((set(rows) & set(known)) | set(pairs.columns))
    counts = pairs.reindex(columns=columns, fill_value=0).to_numpy(dtype=int)
    total = {
        "observed": counts.sum(axis=1, keepdims=True),
        "predicted": counts.sum(axis=0, keepdims=True),
        "none": counts.sum(keepdims=True),
    }[normalize]
    share = counts / np.maximum(total, 1)
    return pd.DataFrame(
        {
            "observed_label": np.repeat(np.array(rows, dtype=object), len(columns)),
            "predicted_label": np.tile(np.array(columns, dtype=object), len(rows)),
            "n_cells": counts.ravel(),
            "share": share.ravel(),
            "in_reference": np.repeat(np.isin(rows, known), len(columns)),
        }
    )
