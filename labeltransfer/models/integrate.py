"""Train scVI: one latent space in which both technologies meet.

Source: Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 2018, as implemented in
scvi-tools.
"""

import logging
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np

import labeltransfer.models.import_scvi  # noqa: F401  imports scvi-tools faster than a plain import does

# isort: split
import scvi

from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.tasks import ScviTask
from labeltransfer.models.fit import fit, fit_fast, to_accelerator
from labeltransfer.models.progress import ProgressCallback
from labeltransfer.models.split import stratified_split
from labeltransfer.params import IntegrateParams
from labeltransfer.presets import FOR_MAPPING, scvi_pace

Accelerator = Literal["cpu", "gpu"]

# A run's log is for what went wrong; epochs and losses are reported through the callback.
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
        Cells of both sides over the chosen genes, with integer ``layers["counts"]`` of shape (n_cells, n_genes), the
        batch of each cell in ``obs["batch"]`` and, for the fast loop's split, ``obs["training_label"]``.
    params
        Architecture and training settings; their defaults are the tutorial's.
    seed
        Seeds Python, NumPy and PyTorch for this whole process: one run a process.
    accelerator
        Where to train.
    callback
        Called at every batch and epoch.

    Returns
    -------
    scvi.model.SCVI
        An ordinary scvi-tools model.

    Raises
    ------
    SettingsError
        In scvi-tools' loop an epoch would end with a step of one cell, which batch normalisation cannot take.
    RunError
        The loss is no longer a number.
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
        **(FOR_MAPPING if params.for_mapping else {}),
    )
    pace = scvi_pace(params, n_cells=adata.n_obs)
    if params.loop == "fast":
        labels = adata.obs["training_label"].to_numpy(dtype=object)
        training, held_out, _ = split = stratified_split(labels, train_size=params.train_size or 0.9, seed=seed)
        to_accelerator(model, accelerator)
        task = ScviTask(model.module, DeviceCounts.of_model(model), training, held_out)
        fit_fast(model, task, pace, split, callback=callback)
        return model
    fit(
        model,
        callbacks=[callback] if callback else [],
        accelerator=accelerator,
        max_epochs=pace.max_epochs,
        batch_size=pace.batch_size,
        train_size=params.train_size,
        early_stopping=params.early_stopping,
        early_stopping_patience=params.early_stopping_patience,
        plan_kwargs={"lr": pace.lr, "n_epochs_kl_warmup": pace.kl_warmup},
    )
    return model


def load_scvi(folder: Path, adata: ad.AnnData) -> scvi.model.SCVI:
    """Load a model that this app stored; ``adata`` is what it was trained on.

    Loading unpickles, so never pass a folder that comes from outside.
    """
    return scvi.model.SCVI.load(folder, adata=adata, accelerator="cpu")


def latent(model: Any) -> np.ndarray:
    """Posterior mean of every cell of the model's data, shape (n_cells, n_latent), float32."""
    return np.asarray(model.get_latent_representation(), dtype=np.float32)
