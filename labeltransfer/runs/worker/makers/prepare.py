"""Prepare the counts of both files."""

from pathlib import Path

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.runs.worker.job import Job


def make(job: Job, folder: Path) -> None:
    """Filter, normalise and join both sides, see :func:`.pair.prepare`."""
    prepare(job.params, folder, report=job.reporter.say, progress=job.progress)
