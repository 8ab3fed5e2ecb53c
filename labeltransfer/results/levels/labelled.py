"""All cells of a run at the level that the promised error allows."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.results.levels.back_off import answers, descend
from labeltransfer.results.levels.hierarchy import Hierarchy
from labeltransfer.results.levels.risk_control import Promise, expected_promise, keep_promise, strictest

COLUMNS = ("label", "label_level", "label_path", "label_confidence")
"""Columns of the table of cells that say what a cell is called; those of each level follow them."""


def label_cells(
    probabilities: pd.DataFrame,
    tree: Hierarchy,
    *,
    held_out: np.ndarray,
    held_out_probabilities: pd.DataFrame,
    observed: np.ndarray,
    is_query: np.ndarray,
    error: float,
    groups: np.ndarray | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Give each cell its finest label that is sure enough for the error.

    The threshold is the stricter of two: the one that keeps the promise on held-out cells of the reference, and the one
    that the query's own confidence leads to expect.

    Parameters
    ----------
    probabilities
        Calibrated probabilities of all cells, shape (n_cells, n_labels), columns are the labels of ``tree``.
    tree
        The tree of the labels.
    held_out
        Places of the reference's cells that the models were not trained on, shape (n_held_out,).
    held_out_probabilities
        Those of these cells, each calibrated without it, shape (n_held_out, n_labels).
    observed
        Places of their labels among those of the tree, shape (n_held_out,).
    is_query
        Which cells are the query's, bool, shape (n_cells,).
    error
        Share of wrong labels to be borne.
    groups
        Batch of each held-out cell, shape (n_held_out,).

    Returns
    -------
    The table of :func:`.back_off.answers` and what is promised, as plain data: ``levels`` (their names), ``nodes``
    (name, parent, level and number of labels of each), ``promise`` and the two that it was chosen from, ``held_out``
    and ``query``; each as :class:`.risk_control.Promise`, None for a number that there is none of.
    """
    descent = descend(probabilities, tree)
    known = keep_promise(descend(held_out_probabilities, tree), observed, error=error, groups=groups)
    expected = expected_promise(descent.cells(is_query), error=error) if is_query.any() else known
    # Without held-out cells nothing is promised, and what can be expected is all there is to go by.
    chosen = strictest(known, expected) if len(held_out) else replace(expected, kept=False)
    nodes = [
        {"name": node.name, "parent": node.parent, "level": node.level, "n_labels": len(node.members)}
        for node in tree.nodes
    ]
    found = {"promise": chosen, "held_out": known, "query": expected}
    plain = {name: _plain(promise) for name, promise in found.items()}
    return answers(descent, chosen.threshold), {"levels": list(tree.levels), "nodes": nodes, **plain}


def _plain(promise: Promise) -> dict[str, Any]:
    """A promise for JSON, which does not know numbers that are none."""
    numbers = {"error": promise.error, "low": promise.interval[0], "high": promise.interval[1]}
    known = {name: None if np.isnan(value) else value for name, value in numbers.items()}
    interval = [known.pop("low"), known.pop("high")]
    return asdict(promise) | known | {"interval": interval}
