"""Train scANVI from a trained scVI and predict the query's labels.

Source: Xu et al., Probabilistic harmonization and annotation of single-cell transcriptomics data with deep generative
models, Molecular Systems Biology 2021, as implemented in scvi-tools.
"""

from typing import Any

import numpy as np
import pandas as pd
import scvi
from scvi.dataloaders import SemiSupervisedDataLoader, SemiSupervisedDataSplitter
from scvi.train._callbacks import SubSampleLabels

from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.tasks import ScanviTask
from labeltransfer.models.fit import fit, fit_fast, to_accelerator
from labeltransfer.models.integrate import Accelerator
from labeltransfer.models.progress import ProgressCallback
from labeltransfer.models.split import choose_split, ends_alone, stratified_split
from labeltransfer.params import UNKNOWN, TransferParams
from labeltransfer.presets import scanvi_pace


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
        Called at every batch and epoch.

    Returns
    -------
    scvi.model.SCANVI
        An ordinary scvi-tools model.
    """
    scvi.settings.seed = seed
    model = scvi.model.SCANVI.from_scvi_model(scvi_model, labels_key="training_label", unlabeled_category=UNKNOWN)
    labels = scvi_model.adata.obs["training_label"].to_numpy(dtype=object)
    pace = scanvi_pace(params, n_cells=len(labels))
    if params.loop == "fast":
        to_accelerator(model, accelerator)
        training, held_out, _ = split = stratified_split(labels, train_size=params.train_size, seed=seed)
        cells = DeviceCounts.of_model(model)
        task = ScanviTask(model.module, cells, training, held_out, n_samples_per_label=params.n_samples_per_label)
        fit_fast(model, task, pace, split, callback=callback)
        return model
    model._data_splitter_cls = _DataSplitter
    split_or_none = choose_split(labels, params, seed=seed)
    fit(
        model,
        # scvi-tools drops its own SubSampleLabels as soon as any callback is given; without it the same labelled
        # cells would be shown in every epoch.
        callbacks=[SubSampleLabels(), *([callback] if callback else [])],
        accelerator=accelerator,
        max_epochs=pace.max_epochs,
        batch_size=pace.batch_size,
        train_size=params.train_size,
        n_samples_per_label=params.n_samples_per_label,
        datasplitter_kwargs={"external_indexing": split_or_none} if split_or_none else None,
        plan_kwargs={"lr": pace.lr},
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


def soft_predictions(model: Any) -> pd.DataFrame:
    """Probability of each label for each cell, shape (n_cells, n_labels), float32; rows sum to 1."""
    return model.predict(soft=True).astype(np.float32)


def held_out_cells(model: Any, rows: np.ndarray) -> np.ndarray:
    """Labelled cells that scANVI was not trained on.

    Parameters
    ----------
    model
        A trained scANVI.
    rows
        Row of each of its cells in the table of all cells, shape (n_trained,).

    Returns
    -------
    Rows in that table, shape (n_held_out,), ascending.
    """
    labels = model.adata.obs["training_label"].to_numpy(dtype=object)
    held_out = np.asarray(model.validation_indices, dtype=int)
    return np.sort(rows[held_out[labels[held_out] != UNKNOWN]])
