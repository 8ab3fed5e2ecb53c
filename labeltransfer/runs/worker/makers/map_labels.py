"""Map a query onto a published reference with its scANVI.

It leaves the same files as the training of scANVI: of the reference's cells those that it was published with, of the
query's what the mapping gives. So the stages after it need not know the difference.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.prepare.prepared import all_counts, n_untrained, read_cells, read_columns, training_data
from labeltransfer.models.integrate import latent
from labeltransfer.models.map_onto import map_onto
from labeltransfer.models.predict import stream_soft
from labeltransfer.models.transfer import soft_predictions
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.makers.published import published_file


def make(job: Job, folder: Path) -> None:
    """Map the query: ``model``, ``history.json``, ``latent.npy``, ``soft.parquet`` and ``held_out.npy``."""
    adata = training_data(job.run.artefacts.prepared, side="query")
    job.reporter.say(f"Mapping {adata.n_obs:,} query cells × {adata.n_vars:,} genes onto the reference")
    model = map_onto(
        published_file(job, "transfer/model/model.pt").parent,
        adata,
        max_epochs=job.params.transfer.max_epochs,
        seed=job.params.seed,
        accelerator=job.device.accelerator,
        callback=job.callback(),
    )
    model.save(folder / "model", overwrite=True)
    job.keep_history(folder)
    unseen = _unseen(job)
    if unseen:
        own, soft = stream_soft(model, *unseen, progress=job.progress)
    else:
        own, soft = latent(model), soft_predictions(model)
    # The reference's cells as they were published: none of their batches' weights changed.
    np.save(folder / "latent.npy", np.concatenate([np.load(published_file(job, "transfer/latent.npy")), own]))
    stored = pd.read_parquet(published_file(job, "transfer/soft.parquet"))
    everyone = pd.concat([stored, soft[stored.columns]])
    everyone.index = read_cells(job.run.artefacts.prepared).index
    everyone.to_parquet(folder / "soft.parquet")
    shutil.copyfile(published_file(job, "transfer/held_out.npy"), folder / "held_out.npy")


def _unseen(job: Job) -> tuple[sp.csr_matrix, pd.Series] | None:
    """Counts and batches of all query cells, where the mapping learnt from a sample of them; None where from all."""
    prepared = job.run.artefacts.prepared
    if not n_untrained(prepared):
        return None
    counts, batches = all_counts(prepared)
    is_query = (read_columns(prepared, ["side"])["side"] == "query").to_numpy()
    job.reporter.say(f"Placing all {int(is_query.sum()):,} query cells")
    return counts[is_query], batches[is_query]
