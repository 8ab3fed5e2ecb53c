"""Files of the published reference that a run maps its query onto."""

from pathlib import Path

from labeltransfer.runs.library.library import Library
from labeltransfer.runs.worker.job import Job


def published_file(job: Job, name: str) -> Path:
    """A file of the published reference, as it was published; raises RunError where it has changed or is gone."""
    mapping = job.params.mapping
    if mapping is None:
        raise ValueError("no mapping")
    return Library(job.run.root).file(mapping, name)
