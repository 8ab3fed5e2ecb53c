"""Train scANVI."""

from pathlib import Path

import numpy as np

from labeltransfer.data.prepare.prepared import all_counts, n_untrained, trained_rows, training_data
from labeltransfer.models.integrate import latent, load_scvi
from labeltransfer.models.predict import stream_soft
from labeltransfer.models.transfer import held_out_cells, soft_predictions, train_scanvi
from labeltransfer.runs.worker.job import Job
from labeltransfer.training_labels import training_labels


def make(job: Job, folder: Path) -> None:
    """Train scANVI from scVI: ``model``, ``history.json``, ``latent.npy``, ``held_out.npy`` and ``soft.parquet``."""
    prepared = job.run.artefacts.prepared
    adata = training_data(prepared)
    adata.obs["training_label"] = training_labels(adata.obs, job.params.hidden_label)
    # Always from the stored model, so that a run that reuses it and a run that has just trained it agree exactly.
    scvi_model = load_scvi(job.run.artefacts.scvi_model, adata)
    job.reporter.say(f"Training scANVI on {adata.n_obs:,} cells")
    device, seed = job.device.accelerator, job.params.seed
    model = train_scanvi(scvi_model, job.params.transfer, seed=seed, accelerator=device, callback=job.callback())
    model.save(folder / "model", overwrite=True)
    job.keep_history(folder)
    if n_untrained(prepared):
        counts, batches = all_counts(prepared)
        job.reporter.say(f"Labelling all {len(batches):,} cells")
        points, soft = stream_soft(model, counts, batches, progress=job.progress)
    else:
        points, soft = latent(model), soft_predictions(model)
    np.save(folder / "latent.npy", points)
    np.save(folder / "held_out.npy", held_out_cells(model, trained_rows(prepared)))
    soft.to_parquet(folder / "soft.parquet")
