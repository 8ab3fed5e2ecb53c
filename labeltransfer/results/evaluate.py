"""Predictions against observed labels: the table of cells, scores and the confusion matrix."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, precision_recall_fscore_support

from labeltransfer.params import Side

Normalize = Literal["observed", "predicted", "none"]

OBS_PREFIX = "obs."
"""How columns of the input files are called in the table of cells."""

_KEPT = ["cell_id", "side", "technology", "batch", "observed_label"]


def cell_table(obs: pd.DataFrame, soft: pd.DataFrame, *, mde_scvi: np.ndarray, mde_scanvi: np.ndarray) -> pd.DataFrame:
    """Put together everything that a page or a CSV shows of a cell.

    Parameters
    ----------
    obs
        Cells of the prepared table, n_cells rows, index of unique cell names.
    soft
        Soft predictions of shape (n_cells, n_labels), columns are labels, rows in the order of ``obs``.
    mde_scvi, mde_scanvi
        Maps of the two latents, each of shape (n_cells, 2).

    Returns
    -------
    One row a cell, in the order of ``obs``: what was known, the label predicted and its probability (``confidence``),
    the runner-up, counts, whether the models were trained on the cell (``trained_on``), the coordinates of both maps,
    and the columns of the input files as ``obs.NAME``.
    """
    n_cells = len(obs)
    if len(soft) != n_cells or mde_scvi.shape != (n_cells, 2) or mde_scanvi.shape != (n_cells, 2):
        raise ValueError(
            f"{n_cells} cells, but soft predictions of shape {soft.shape} and maps of shapes "
            f"{mde_scvi.shape} and {mde_scanvi.shape}"
        )
    labels = [str(label) for label in soft.columns]
    probability = soft.to_numpy(dtype=np.float32)
    order = np.argsort(-probability, axis=1, kind="stable")
    rows = np.arange(n_cells)
    cells = obs[_KEPT].copy()
    cells["observed_label"] = as_categorical(obs["observed_label"])
    cells["predicted_label"] = _labels_of(order[:, 0], labels)
    cells["confidence"] = probability[rows, order[:, 0]]
    second = order[:, 1] if len(labels) > 1 else np.full(n_cells, -1)
    cells["second_label"] = _labels_of(second, labels)
    cells["second_confidence"] = probability[rows, second] if len(labels) > 1 else np.float32(np.nan)
    cells["n_counts"] = obs["n_counts"]
    cells["n_genes"] = obs["n_genes"]
    cells["trained_on"] = obs["trained_on"].to_numpy(bool) if "trained_on" in obs else True
    for name, mde in (("scvi", mde_scvi), ("scanvi", mde_scanvi)):
        cells[f"{name}_1"], cells[f"{name}_2"] = mde[:, 0].astype(np.float32), mde[:, 1].astype(np.float32)
    inputs = [column for column in obs.columns if column.startswith(OBS_PREFIX)]
    return pd.concat([cells, obs[inputs]], axis=1)


def _labels_of(codes: np.ndarray, labels: list[str]) -> pd.Categorical:
    """Categories from their places in ``labels``; -1 is none."""
    return pd.Categorical.from_codes(codes.tolist(), pd.Index(labels))


def as_categorical(labels: pd.Series) -> pd.Series:
    """Labels as categories of text in alphabetical order, without those that no cell has."""
    text = labels.astype(object).where(labels.notna())
    text = text.map(lambda label: str(label), na_action="ignore")
    return pd.Series(pd.Categorical(text, sorted(text.dropna().unique())), index=labels.index, name=labels.name)


def reference_labels(cells: pd.DataFrame) -> list[str]:
    """Labels that reference cells have, in alphabetical order: the only ones that can be predicted."""
    return sorted(cells.loc[cells["side"] == "reference", "observed_label"].dropna().astype(str).unique())


def scored(cells: pd.DataFrame, *, side: Side = "query") -> pd.DataFrame:
    """Cells of one side that can be scored: they have an observed label, and the reference has that label."""
    known = cells["observed_label"].isin(reference_labels(cells))
    return cells[(cells["side"] == side) & known]


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


def _scores(cells: pd.DataFrame, side: Side) -> dict[str, Any]:
    own = cells[cells["side"] == side]
    judged = scored(cells, side=side)
    observed, predicted, _ = _codes(judged)
    missing = own.loc[own["observed_label"].notna() & ~own["observed_label"].isin(reference_labels(cells))]
    counts = missing["observed_label"].astype(str).value_counts()
    labels = np.unique(observed)
    n_correct = int((observed == predicted).sum())
    return {
        "n_cells": len(own),
        "n_scored": len(judged),
        "n_correct": n_correct,
        "accuracy": n_correct / len(judged) if len(judged) else None,
        "macro_f1": float(f1_score(observed, predicted, labels=labels, average="macro", zero_division=0))
        if len(judged)
        else None,
        "n_labels": len(labels),
        "n_unlabelled": int(own["observed_label"].isna().sum()),
        "labels_missing_in_reference": {str(label): int(n) for label, n in counts.items()},
    }


def per_label(cells: pd.DataFrame, *, side: Side = "query") -> pd.DataFrame:
    """Scores of each label over the scored cells of one side.

    Returns
    -------
    One row for each label that scored cells have or that cells of that side were given: ``label``, ``precision`` (NaN
    where no scored cell was given it), ``recall`` and ``f1`` (NaN where no scored cell has it), ``support`` (scored
    cells that have it) and ``n_predicted`` (all cells of that side that were given it).
    """
    judged = scored(cells, side=side)
    observed, predicted, names = _codes(judged)
    given = cells.loc[cells["side"] == side, "predicted_label"].astype(str).value_counts()
    labels = sorted({names[code] for code in np.unique(observed)} | set(given.index[given > 0]))
    columns = ["label", "precision", "recall", "f1", "support", "n_predicted"]
    if not labels:
        return pd.DataFrame({name: [] for name in columns})
    if len(judged):
        precision, recall, f1, support = precision_recall_fscore_support(
            observed, predicted, labels=pd.Index(names).get_indexer(pd.Index(labels)), zero_division=0
        )
    else:
        precision = recall = f1 = np.full(len(labels), np.nan)
        support = np.zeros(len(labels), dtype=int)
    was_predicted = np.isin(labels, [names[code] for code in np.unique(predicted)])
    return pd.DataFrame(
        {
            "label": labels,
            "precision": np.where(was_predicted, precision, np.nan),
            "recall": np.where(support > 0, recall, np.nan),
            "f1": np.where(support > 0, f1, np.nan),
            "support": support.astype(int),
            "n_predicted": given.reindex(labels, fill_value=0).to_numpy(dtype=int),
        },
        columns=columns,
    )


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
    included: ``observed_label``, ``predicted_label``, ``n_cells``, ``share`` (0 where nothing stands in the
    denominator), ``in_reference`` (whether the reference has the observed label). Empty where no cell has a label.
    """
    own = cells[(cells["side"] == side) & cells["observed_label"].notna()]
    observed, predicted, names = _codes(own)
    known = reference_labels(cells)
    rows = sorted(names[code] for code in np.unique(observed))
    columns = sorted((set(rows) & set(known)) | {names[code] for code in np.unique(predicted)})
    pairs = np.bincount(observed.astype(np.int64) * len(names) + predicted, minlength=len(names) ** 2)
    table = pd.DataFrame(pairs.reshape(len(names), len(names)), names, names).reindex(index=rows, columns=columns)
    counts = table.to_numpy(dtype=int)
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


def _codes(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Observed and predicted labels as places in one list of labels: sorting text takes long with a million cells."""
    columns = [cells[name].astype("category") for name in ("observed_label", "predicted_label")]
    names = sorted({str(label) for column in columns for label in column.cat.categories})
    observed, predicted = (column.cat.set_categories(names).cat.codes.to_numpy() for column in columns)
    return observed, predicted, names
