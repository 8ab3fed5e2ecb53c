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

    scvi-tools splits labelled and unlabelled cells at random. Where that would end an epoch with a step of one cell,
    the split is made here instead, and one cell more goes to validation.
    """
    n_known = int((labels != UNKNOWN).sum())
    n_theirs = ceil(params.train_size * n_known) + ceil(params.train_size * (len(labels) - n_known))
    batch_size = scanvi_pace(params, n_cells=len(labels)).batch_size
    if not params.stratified_split and not ends_alone(n_theirs, batch_size):
        return None
    training, validation, test = stratified_split(labels, train_size=params.train_size, seed=seed)
    if ends_alone(len(training), batch_size):
        names, counts = np.unique(labels[training], return_counts=True)
        moved = training[labels[training] == names[counts.argmax()]][-1]
        training, validation = training[training != moved], np.sort(np.append(validation, moved))
    return [training, validation, test]


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
