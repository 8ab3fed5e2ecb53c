"""Fit a scvi-tools model: in scvi-tools' own loop, or in the fast one, after which it looks the same."""

from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.errors import SettingsError
from labeltransfer.models.fast.loop import Task, train
from labeltransfer.models.progress import Epoch, ProgressCallback
from labeltransfer.presets import Pace

Split = list[np.ndarray]
"""Row numbers of training, validation and test cells."""


def fit(model: Any, *, callbacks: list[Any], batch_size: int, **settings: Any) -> None:
    """Call a scvi-tools model's own ``train`` quietly, with validation losses, and put its known failures into words.

    Raises
    ------
    SettingsError
        An epoch would end with a step of one cell, which batch normalisation cannot take.
    """
    model._data_splitter_cls = _with_or_without_validation(model._data_splitter_cls)
    try:
        model.train(
            batch_size=batch_size,
            callbacks=callbacks,
            check_val_every_n_epoch=1,  # scvi-tools leaves validation out unless asked; it does not steer the training
            enable_progress_bar=False,
            devices=1,
            **settings,
        )
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SettingsError(
            f"With {batch_size} cells per step an epoch ends with a step of one cell, which cannot be normalised: "
            f"set 'Cells per step' to {batch_size + 1}."
        ) from error


def _with_or_without_validation(splitter: Any) -> Any:
    """The same splitter of cells, which lets Lightning train where so few cells are there that none is held out."""

    class Splitter(splitter):
        def val_dataloader(self) -> Any:
            loader = super().val_dataloader()
            return [] if loader is None else loader  # Lightning takes no loader at all for a fault

    return Splitter


def fit_fast(model: Any, task: Task, pace: Pace, split: Split, *, callback: ProgressCallback | None = None) -> None:
    """Train in the fast loop and leave the model as scvi-tools leaves one that it has trained.

    Parameters
    ----------
    model
        A scvi-tools model, on the device where it is to be trained.
    task
        What to train of it.
    pace
        How long and in what steps.
    split
        What the task trains on and is evaluated on, kept with the model.
    callback
        Called at every step and epoch, and at the end.
    """
    epochs: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if callback:
            callback.on_epoch(epoch)

    stopped = train(task, pace, on_epoch=on_epoch, on_batch=callback.on_batch if callback else None)
    if callback:
        callback.on_stop(stopped)
    model.train_indices, model.validation_indices, model.test_indices = split
    index = pd.RangeIndex(len(epochs), name="epoch")
    model.history_ = {
        name: pd.DataFrame({name: [getattr(epoch, name) for epoch in epochs]}, index=index, dtype=float)
        for name in ("train_loss", "validation_loss")
    }
    model.is_trained_ = True


def to_accelerator(model: Any, accelerator: str) -> None:
    """Move a model to where it is to be trained; a worker sees one GPU at the most."""
    model.to_device("cuda:0" if accelerator == "gpu" else "cpu")
