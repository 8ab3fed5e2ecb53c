"""The tree of a run's labels: from the reference's columns that were asked for, else from the Cell Ontology."""

from collections.abc import Mapping, Sequence

import pandas as pd

from labeltransfer.results.levels.columns import parents_of
from labeltransfer.results.levels.hierarchy import Hierarchy, from_parents, from_terms
from labeltransfer.results.ontology.terms import Term
from labeltransfer.results.scores.cells import OBS_PREFIX

LABEL = "label"


def asked_tree(cells: pd.DataFrame, labels: Sequence[str], level_keys: Sequence[str]) -> Hierarchy:
    """The tree of labels with the parents that columns of the reference give them.

    Parameters
    ----------
    cells
        Table of cells with ``side``, ``observed_label`` and the columns of the input files as ``obs.NAME``.
    labels
        Labels that can be predicted, in the order of the probabilities.
    level_keys
        Names of the columns, as the reference's file has them.

    Raises
    ------
    SettingsError
        A column is not there, gives a label two parents, or cuts across another one.
    """
    reference = cells[(cells["side"] == "reference").to_numpy()]
    columns = {key: f"{OBS_PREFIX}{key}".replace("/", "_") for key in level_keys}
    own = {key: reference[column] for key, column in columns.items() if column in reference}
    table = pd.DataFrame({LABEL: reference["observed_label"].astype(object), **own})
    return from_parents(labels, {key: parents_of(table, LABEL, key) for key in level_keys})


def check_levels(cells: pd.DataFrame, level_keys: Sequence[str]) -> None:
    """Raise where columns are no levels of the reference's labels, see :func:`asked_tree`."""
    if level_keys:
        labels = cells.loc[(cells["side"] == "reference").to_numpy(), "observed_label"]
        asked_tree(cells, sorted(labels.dropna().astype(str).unique()), level_keys)


def label_tree(
    cells: pd.DataFrame, labels: Sequence[str], level_keys: Sequence[str], terms: Mapping[str, Term]
) -> Hierarchy:
    """The tree of a run's labels; ``terms`` are those of the labels, see :func:`asked_tree` for the others."""
    return asked_tree(cells, labels, level_keys) if level_keys else from_terms(labels, terms)
