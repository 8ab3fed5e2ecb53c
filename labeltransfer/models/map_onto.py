"""Map a query onto a trained reference by training only the weights of the query's batches.

Source: Lotfollahi et al. (scArches), Mapping single-cell data to reference atlases by transfer learning, Nature
Biotechnology 2022, as implemented in scvi-tools.
"""

from pathlib import Path

import anndata as ad
import scvi

from labeltransfer.models.fit import fit
from labeltransfer.models.integrate import Accelerator
from labeltransfer.models.progress import ProgressCallback
from labeltransfer.params import UNKNOWN
from labeltransfer.presets import mapping_pace


def map_onto(
    folder: Path,
    adata: ad.AnnData,
    *,
    max_epochs: int | None = None,
    seed: int = 0,
    accelerator: Accelerator = "cpu",
    callback: ProgressCallback | None = None,
) -> scvi.model.SCANVI:
    """Extend a stored scANVI by the query's batches and train their weights, in scvi-tools' own loop.

    Loading unpickles, so never pass a folder that comes from outside.

    Parameters
    ----------
    folder
        The stored model, made with :data:`.presets.FOR_MAPPING`.
    adata
        Query cells, with integer ``layers["counts"]`` of shape (n_cells, n_genes) over the model's genes, and the batch
        of each cell in ``obs["batch"]``. It is changed.
    max_epochs
        Passes over the query; None lets its size choose.
    seed
        Seeds this whole process.
    accelerator
        Where to train.
    callback
        Called at every batch and epoch.

    Returns
    -------
    scvi.model.SCANVI
        An ordinary scvi-tools model of the query. All weights but those of batches are the reference's.
    """
    scvi.settings.seed = seed
    adata.obs["training_label"] = UNKNOWN
    scvi.model.SCANVI.prepare_query_anndata(adata, str(folder))
    model = scvi.model.SCANVI.load_query_data(adata, str(folder), accelerator=accelerator)
    pace = mapping_pace(max_epochs, n_cells=adata.n_obs)
    fit(
        model,
        callbacks=[callback] if callback else [],
        accelerator=accelerator,
        max_epochs=pace.max_epochs,
        batch_size=pace.batch_size,
        # With any weight decay the frozen weights would shrink all the same.
        plan_kwargs={"weight_decay": 0.0, "lr": pace.lr},
    )
    return model
