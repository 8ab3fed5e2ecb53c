"""Train scVI: one latent space in which both technologies meet.

Source: Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 2018, as implemented in
scvi-tools.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np
import scvi

from labeltransfer.errors import SettingsError
from labeltransfer.models.progress import ProgressCallback
from labeltransfer.params import IntegrateParams
from labeltransfer.presets import scvi_epochs

Accelerator = Literal["cpu", "gpu"]

# A run's log is for what went wrong; epochs and losses are told through the callback.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
scvi.settings.verbosity = logging.WARNING


def train_scvi(
    adata: ad.AnnData,
    params: IntegrateParams,
    *,
    seed: int = 0,
    accelerator: Accelerator = "cpu",
    callback: ProgressCallback | None = None,
) -> scvi.model.SCVI:
    """Train scVI on raw counts.

    Parameters
    ----------
    adata
        Cells of both sides over the chosen genes, with integer ``layers["counts"]`` of shape (n_cells, n_genes) and
        the batch of each cell in ``obs["batch"]``.
    params
        Architecture and training settings; their defaults are the tutorial's.
    seed
        Seeds Python, NumPy and PyTorch for this whole process: one run a process.
    accelerator
        Where to train.
    callback
        Told of every batch and epoch.

    Returns
    -------
    scvi.model.SCVI
        An ordinary scvi-tools model.

    Raises
    ------
    SettingsError
        An epoch would end with a step of one cell, which batch normalisation cannot take.
    """
    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    model = scvi.model.SCVI(
        adata,
        n_layers=params.n_layers,
        n_latent=params.n_latent,
        n_hidden=params.n_hidden,
        dropout_rate=params.dropout_rate,
        gene_likelihood=params.gene_likelihood,
        dispersion=params.dispersion,
    )
    n_epochs = scvi_epochs(params, n_cells=adata.n_obs)
    fit(
        model.train,
        callbacks=[callback] if callback else [],
        accelerator=accelerator,
        max_epochs=n_epochs,
        batch_size=params.batch_size,
        train_size=params.train_size,
        early_stopping=params.early_stopping,
        early_stopping_patience=params.early_stopping_patience,
        plan_kwargs={"lr": params.lr, "n_epochs_kl_warmup": params.n_epochs_kl_warmup or max(1, n_epochs // 2)},
    )
    return model


def fit(train: Callable[..., Any], *, callbacks: list[Any], batch_size: int, **settings: Any) -> None:
    """Call a model's ``train`` quietly, with validation losses, and put its known failures into words."""
    try:
        train(
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


def load_scvi(folder: Path, adata: ad.AnnData) -> scvi.model.SCVI:
    """Load a model that this app stored; ``adata`` is what it was trained on.

    Loading unpickles, so never pass a folder that comes from outside.
    """
    return scvi.model.SCVI.load(folder, adata=adata, accelerator="cpu")


def latent(model: Any) -> np.ndarray:
    """Posterior mean of every cell of the model's data, shape (n_cells, n_latent), float32."""
    return np.asarray(model.get_latent_representation(), dtype=np.float32)
