"""Which cells a model is trained on, and which are held out to judge it by."""

from math import ceil

import numpy as np

from labeltransfer.params import UNKNOWN, TransferParams
from labeltransfer.presets import scanvi_pace


def ends_alone(n_cells: int, batch_size: int) -> bool:
    """Whether steps of ``batch_size`` cells leave a last step of a single cell."""
    return n_cells > 1 and n_cells % batch_size == 1


def choose_split(labels: np.ndarray, params: TransferParams, *, seed: int = 0) -> list[np.ndarray] | None:
    """Rows of training, validation and test, or None to leave the split to scvi-tools.

    scvi-tools splits labelled and unlabelled cells at random. The split is made here instead where that would end an
    epoch with a step of one cell, or hold out no labelled cell of a few: its loader fails where none of the held-out
    cells has a label.
    """
    is_known = labels != UNKNOWN
    n_of = [int(is_known.sum()), int((~is_known).sum())]
    n_theirs = [ceil(params.train_size * n_cells) for n_cells in n_of]
    batch_size = scanvi_pace(params, n_cells=len(labels)).batch_size
    lacks_labels = n_theirs[0] == n_of[0] > 0 and n_theirs[1] < n_of[1]
    if not params.stratified_split and not lacks_labels and not ends_alone(sum(n_theirs), batch_size):
        return None
    training, validation, test = stratified_split(labels, train_size=params.train_size, seed=seed)
    if len(validation) and is_known.any() and not is_known[validation].any():
        labelled = training[is_known[training]]
        if len(np.unique(labels[labelled].astype(str))) < len(labelled):
            moved = _last_of_most(labels, labelled)
            training, validation = training[training != moved], np.sort(np.append(validation, moved))
        else:
            training, validation = np.arange(len(labels)), validation[:0]
    if ends_alone(len(training), batch_size):
        moved = _last_of_most(labels, training)
        training = training[training != moved]
        if len(validation):
            validation = np.sort(np.append(validation, moved))
        else:
            test = np.array([moved])
    return [training, validation, test]


def _last_of_most(labels: np.ndarray, rows: np.ndarray) -> int:
    """Last of some rows with the label that most of them have."""
    names, counts = np.unique(labels[rows].astype(str), return_counts=True)
    return int(rows[labels[rows] == names[counts.argmax()]][-1])


def stratified_split(labels: np.ndarray, *, train_size: float, seed: int = 0) -> list[np.ndarray]:
    """Split cells into training, validation and (empty) test within each label.

    Parameters
    ----------
    labels
        Label of each cell, shape (n_cells,).
    train_size
        Share of each label's cells that goes to training; at least one does.
    seed
        Seed of the draw.

    Returns
    -------
    list of ndarray
        Three arrays of sorted row numbers.
    """
    rng = np.random.default_rng(seed)
    training = np.zeros(labels.size, dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        training[rows[: max(1, round(train_size * rows.size))]] = True
    return [np.flatnonzero(training), np.flatnonzero(~training), np.array([], dtype=int)]
