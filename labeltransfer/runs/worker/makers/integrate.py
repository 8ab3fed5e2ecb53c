"""Train scVI."""

from pathlib import Path

import numpy as np

from labeltransfer.data.prepare.prepared import all_counts, n_untrained, training_data
from labeltransfer.models.integrate import latent, train_scvi
from labeltransfer.models.predict import stream_latent
from labeltransfer.runs.worker.job import Job
from labeltransfer.training_labels import training_labels


def make(job: Job, folder: Path) -> None:
    """Train scVI on the prepared counts: ``model``, ``history.json`` and ``latent.npy``."""
    prepared = job.run.artefacts.prepared
    adata = training_data(prepared)
    training_labels(adata.obs, job.params.hidden_label)  # raised before the long training, not after it
    job.reporter.say(f"Training scVI on {adata.n_obs:,} cells × {adata.n_vars:,} genes")
    model = train_scvi(
        adata, job.params.integrate, seed=job.params.seed, accelerator=job.device.accelerator, callback=job.callback()
    )
    model.save(folder / "model", overwrite=True)
    job.keep_history(folder)
    if n_untrained(prepared):
        counts, batches = all_counts(prepared)
        job.reporter.say(f"Placing all {len(batches):,} cells in the latent")
        points = stream_latent(model, counts, batches, progress=job.progress)
    else:
        points = latent(model)
    np.save(folder / "latent.npy", points)
