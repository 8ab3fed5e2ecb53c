"""The stages of a run that maps its query onto a published reference, where they differ from those of other runs.

Each leaves the same files as its twin in :mod:`.stages`: of the reference's cells those that it was published with,
of the query's what the mapping gives. So all that comes behind knows no difference.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.prepare.onto_reference import prepare_query
from labeltransfer.data.prepare.prepared import all_counts, n_untrained, read_cells, read_columns, training_data
from labeltransfer.errors import SettingsError
from labeltransfer.runs.library.library import Library

if TYPE_CHECKING:
    from labeltransfer.runs.worker.stages import Job


def prepare_mapped(job: "Job", folder: Path) -> None:
    """Prepare the query beside the published reference's cells, see :func:`.data.mapping.prepare_query`."""
    if job.params.hidden_label is not None:
        raise SettingsError("A published reference was taught all its labels: none can be hidden from it.")
    if job.params.prepare.length_normalize == "reference":
        raise SettingsError(
            "A published reference is prepared already: only the query can be normalised by gene length."
        )
    reference = _file(job, "prepare/prepared.h5ad").parent
    _file(job, "prepare/summary.json")
    prepare_query(job.params, reference, folder, report=job.reporter.say, progress=job.progress)


def map_labels(job: "Job", folder: Path) -> None:
    """Map the query with the reference's scANVI: ``model``, ``latent.npy``, ``soft.parquet`` and ``held_out.npy``."""
    from labeltransfer.models.integrate import latent
    from labeltransfer.models.map_onto import map_onto
    from labeltransfer.models.predict import stream_soft
    from labeltransfer.models.transfer import soft_predictions

    adata = training_data(job.run.artefact("prepare", "prepared.h5ad"), side="query")
    job.reporter.say(f"Mapping {adata.n_obs:,} query cells × {adata.n_vars:,} genes onto the reference")
    model = map_onto(
        _file(job, "transfer/model/model.pt").parent,
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
    np.save(folder / "latent.npy", np.concatenate([np.load(_file(job, "transfer/latent.npy")), own]))
    stored = pd.read_parquet(_file(job, "transfer/soft.parquet"))
    everyone = pd.concat([stored, soft[stored.columns]])
    everyone.index = read_cells(job.run.artefact("prepare", "prepared.h5ad")).index
    everyone.to_parquet(folder / "soft.parquet")
    shutil.copyfile(_file(job, "transfer/held_out.npy"), folder / "held_out.npy")


def _unseen(job: "Job") -> tuple[sp.csr_matrix, pd.Series] | None:
    """Counts and batches of all query cells, where the mapping learnt from a sample of them; None where from all."""
    prepared = job.run.artefact("prepare", "prepared.h5ad")
    if not n_untrained(prepared):
        return None
    counts, batches = all_counts(prepared)
    is_query = (read_columns(prepared, ["side"])["side"] == "query").to_numpy()
    job.reporter.say(f"Placing all {int(is_query.sum()):,} query cells")
    return counts[is_query], batches[is_query]


def _file(job: "Job", name: str) -> Path:
    """A file of the published reference, as it was published; raises RunError."""
    mapping = job.params.mapping
    if mapping is None:
        raise ValueError("no mapping")
    return Library(job.run.root).file(mapping, name)


MAKERS: dict[str, Callable[["Job", Path], None]] = {
    "prepare": prepare_mapped,
    "transfer": map_labels,
}
