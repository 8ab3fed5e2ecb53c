"""Train scANVI from a trained scVI and predict the query's labels.

Source: Xu et al., Probabilistic harmonization and annotation of single-cell transcriptomics data with deep generative
models, Molecular Systems Biology 2021, as implemented in scvi-tools.
"""

from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import scvi
from scvi.dataloaders import SemiSupervisedDataLoader, SemiSupervisedDataSplitter
from scvi.train._callbacks import SubSampleLabels

from labeltransfer.models.integrate import Accelerator, fit
from labeltransfer.models.progress import ProgressCallback
from labeltransfer.params import UNKNOWN, TransferParams


def train_scanvi(
    scvi_model: scvi.model.SCVI,
    params: TransferParams,
    *,
    seed: int = 0,
    accelerator: Accelerator = "cpu",
    callback: ProgressCallback | None = None,
) -> scvi.model.SCANVI:
    """Train scANVI, started from scVI's weights.

    Parameters
    ----------
    scvi_model
        Trained model whose AnnData has the labels in ``obs["training_label"]``: the reference's as observed, every
        query cell ``Unknown``.
    params
        Training settings; their defaults are the tutorial's.
    seed
        Seeds this whole process.
    accelerator
        Where to train.
    callback
        Told of every batch and epoch.

    Returns
    -------
    scvi.model.SCANVI
        An ordinary scvi-tools model.
    """
    scvi.settings.seed = seed
    model = scvi.model.SCANVI.from_scvi_model(scvi_model, labels_key="training_label", unlabeled_category=UNKNOWN)
    model._data_splitter_cls = _DataSplitter
    split = choose_split(scvi_model.adata.obs["training_label"].to_numpy(dtype=object), params, seed=seed)
    fit(
        model.train,
        # scvi-tools drops its own SubSampleLabels as soon as any callback is given; without it the same labelled
        # cells would be shown in every epoch.
        callbacks=[SubSampleLabels(), *([callback] if callback else [])],
        accelerator=accelerator,
        max_epochs=params.max_epochs,
        batch_size=params.batch_size,
        train_size=params.train_size,
        n_samples_per_label=params.n_samples_per_label,
        datasplitter_kwargs={"external_indexing": split} if split else None,
        plan_kwargs={"lr": params.lr},
    )
    return model


class _DataLoader(SemiSupervisedDataLoader):
    """Leaves one labelled cell out of an epoch whose last step would be of one cell: batch normalisation needs two."""

    def __init__(self, *args: Any, batch_size: int = 128, **settings: Any) -> None:
        self._step = batch_size  # the first draw is made before scvi-tools keeps it
        super().__init__(*args, batch_size=batch_size, **settings)

    def subsample_labels(self) -> np.ndarray:
        rows = super().subsample_labels()
        return np.delete(rows, np.random.randint(len(rows))) if ends_alone(len(rows), self._step) else rows


class _DataSplitter(SemiSupervisedDataSplitter):
    """scvi-tools' own, with the loader above."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.data_loader_class = _DataLoader


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
    if not params.stratified_split and not ends_alone(n_theirs, params.batch_size):
        return None
    training, validation, test = stratified_split(labels, train_size=params.train_size, seed=seed)
    if ends_alone(len(training), params.batch_size):
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


def soft_predictions(model: Any) -> pd.DataFrame:
    """Probability of each label for each cell, shape (n_cells, n_labels), float32; rows sum to 1."""
    return model.predict(soft=True).astype(np.float32)
