"""Prepare the counts of both files."""

from pathlib import Path

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import read_cells
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.label_tree import check_levels


def make(job: Job, folder: Path) -> None:
    """Filter, normalise and join both sides, see :func:`.pair.prepare`."""
    prepare(job.params, folder, report=job.reporter.say, progress=job.progress)
    check_levels(read_cells(folder / "prepared.h5ad"), job.params.level_keys)  # now, not after the long trainings
