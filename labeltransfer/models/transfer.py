"""Train scANVI from a trained scVI and predict the query's labels.

Source: Xu et al., Probabilistic harmonization and annotation of single-cell transcriptomics data with deep generative
models, Molecular Systems Biology 2021, as implemented in scvi-tools.
"""

from typing import Any

import numpy as np
import pandas as pd
import scvi
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

    Raises
    ------
    SettingsError
        An epoch would end with a step of one cell.
    """
    scvi.settings.seed = seed
    model = scvi.model.SCANVI.from_scvi_model(scvi_model, labels_key="training_label", unlabeled_category=UNKNOWN)
    labels = scvi_model.adata.obs["training_label"].to_numpy()
    split = stratified_split(labels, train_size=params.train_size, seed=seed) if params.stratified_split else None
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
