"""Lay a latent out in two dimensions."""

from pathlib import Path

import numpy as np

from labeltransfer.data.prepare.prepared import read_cells
from labeltransfer.results.maps.embed import mde, n_embedded
from labeltransfer.runs.worker.job import Job


def make(job: Job, folder: Path, *, latent_of: str) -> None:
    """Map the latent of the stage ``latent_of``: ``mde.npy``, float array of shape (n_cells, 2)."""
    points = np.load(job.run.artefacts.latent(latent_of))
    n_first, strata, how = n_embedded(len(points)), None, " in two dimensions"
    if n_first < len(points):
        how = f": {n_first:,} are laid out, the others placed among their nearest"
        cells = read_cells(job.run.artefacts.prepared)
        strata = cells.groupby(["batch", "training_label"], observed=True).ngroup().to_numpy()
    job.reporter.say(f"Mapping {len(points):,} cells{how}")
    found = mde(points, strata=strata, **job.params.embed.model_dump(), seed=job.params.seed)
    np.save(folder / "mde.npy", found)
