"""Latents and soft predictions of cells that a model was not trained on, some cells at a time.

The same as ``get_latent_representation()`` and ``predict(soft=True)`` of scvi-tools give, without an AnnData of all
cells and its loader.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

N_BLOCK = 4096
"""Cells at a time: 33 MB as a dense block of 2,000 genes."""

Progress = Callable[[float], None]
"""Called with the share of the cells that is done; what it raises ends the pass."""


@torch.inference_mode()
def stream_latent(model: Any, counts: sp.csr_matrix, batches: pd.Series, *, progress: Progress) -> np.ndarray:
    """Posterior mean of every cell.

    Parameters
    ----------
    model
        Trained scVI or scANVI model.
    counts
        Shape (n_cells, n_genes), over the genes that the model was trained on.
    batches
        Batch of each cell by name, shape (n_cells,).
    progress
        Called with how far it is.

    Returns
    -------
    Array of shape (n_cells, n_latent), float32.

    Raises
    ------
    ValueError
        The model does not know a batch or has other genes.
    """
    latent = np.empty((counts.shape[0], model.module.n_latent), np.float32)
    for cells, mean in _posterior_means(model, counts, batches, progress):
        latent[cells] = mean.cpu().numpy()
    return latent


@torch.inference_mode()
def stream_soft(
    model: Any, counts: sp.csr_matrix, batches: pd.Series, *, progress: Progress
) -> tuple[np.ndarray, pd.DataFrame]:
    """Posterior mean and soft prediction of every cell, in one pass of a scANVI model; see ``stream_latent``.

    Returns
    -------
    Array of shape (n_cells, n_latent) and data frame of shape (n_cells, n_labels) whose rows sum to 1, both float32,
    the latter indexed like ``batches``.
    """
    latent = np.empty((counts.shape[0], model.module.n_latent), np.float32)
    soft: np.ndarray | None = None
    for cells, mean in _posterior_means(model, counts, batches, progress):
        latent[cells] = mean.cpu().numpy()
        scores = model.module.classify_helper(mean)
        if model.module.classifier.logits:
            scores = torch.nn.functional.softmax(scores, dim=-1)
        if soft is None:
            soft = np.empty((counts.shape[0], scores.shape[1]), np.float32)
        soft[cells] = scores.cpu().numpy()
    labels = model.adata_manager.get_state_registry("labels").categorical_mapping
    n_labels = 0 if soft is None else soft.shape[1]  # the last one of the mapping is Unknown
    return latent, pd.DataFrame(soft, index=batches.index, columns=list(labels[:n_labels]))


def _posterior_means(
    model: Any, counts: sp.csr_matrix, batches: pd.Series, progress: Progress
) -> Iterator[tuple[slice, torch.Tensor]]:
    module = model.module.eval()
    if counts.shape[1] != model.adata.n_vars:
        raise ValueError(f"{counts.shape[1]} genes, but the model was trained on {model.adata.n_vars}")
    codes = _batch_codes(model, batches)
    for first in range(0, counts.shape[0], N_BLOCK):
        cells = slice(first, min(first + N_BLOCK, counts.shape[0]))
        block = torch.from_numpy(counts[cells].toarray()).to(module.device)
        # scvi-tools predicts from the posterior mean that it also gives as the latent, so one encoding serves both.
        yield cells, module.inference(block, codes[cells].to(module.device))["qz"].loc
        progress(cells.stop / counts.shape[0])


def _batch_codes(model: Any, batches: pd.Series) -> torch.Tensor:
    """Number of each cell's batch as the model knows it, shape (n_cells, 1)."""
    known = pd.Index(model.adata_manager.get_state_registry("batch").categorical_mapping)
    names = batches.astype("category")
    codes = known.get_indexer(names.cat.categories.astype(str))[names.cat.codes]
    if (codes < 0).any():
        raise ValueError(f"The model does not know the batch '{names[codes < 0].iloc[0]}'")
    return torch.from_numpy(codes.astype(np.int64))[:, None]
