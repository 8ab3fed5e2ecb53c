"""Which labels the models are trained on: the reference's, less one that is hidden to see what becomes of its cells."""

import numpy as np
import pandas as pd

from labeltransfer.errors import SettingsError
from labeltransfer.params import UNKNOWN


def training_labels(obs: pd.DataFrame, hidden: str | None = None) -> pd.Series:
    """Label of each cell that scANVI and the panel are trained on.

    Parameters
    ----------
    obs
        Table of cells with ``training_label``, n_cells rows: the reference's labels, every query cell ``Unknown``.
    hidden
        A label whose cells are made ``Unknown`` too; None hides none.

    Returns
    -------
    Series of length n_cells, categories; those of ``hidden`` no longer have it among them.

    Raises
    ------
    SettingsError
        No reference cell has the label, or fewer than 2 other labels are left.
    """
    labels = obs["training_label"]
    if hidden is None:
        return labels
    text = labels.astype(object)
    others = sorted(set(text) - {UNKNOWN, hidden})
    if hidden == UNKNOWN or not (text == hidden).any():
        raise SettingsError(
            f"No cell of the reference has the label '{hidden}' that is to be hidden: take one of {', '.join(others)}."
        )
    if len(others) < 2:
        raise SettingsError(
            f"Without '{hidden}' the reference has {len(others)} label; scANVI needs at least 2: a label can be hidden "
            "where the reference has 3 or more."
        )
    # Categories that no cell has would become classes of the models.
    return text.where(text != hidden, UNKNOWN).astype("category").rename("training_label")


def hidden_cells(cells: pd.DataFrame, hidden: str) -> np.ndarray:
    """Reference cells that have the hidden label, shape (n_cells,), bool."""
    return ((cells["side"] == "reference") & (cells["observed_label"] == hidden)).to_numpy(dtype=bool)
