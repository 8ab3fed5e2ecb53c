"""Prepare the query of a run that maps it onto a published reference."""

from pathlib import Path

from labeltransfer.data.prepare.onto_reference import prepare_query
from labeltransfer.data.prepare.prepared import read_cells
from labeltransfer.errors import SettingsError
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.label_tree import check_levels
from labeltransfer.runs.worker.makers.published import published_file


def make(job: Job, folder: Path) -> None:
    """Prepare the query next to the published reference's cells, see :func:`.onto_reference.prepare_query`.

    Raises
    ------
    SettingsError
        The params ask for what a published reference cannot do any more.
    """
    if job.params.hidden_label is not None:
        raise SettingsError("A published reference was trained on all its labels: none can be hidden from it.")
    if job.params.prepare.length_normalize == "reference":
        raise SettingsError(
            "A published reference is prepared already: only the query can be normalised by gene length."
        )
    reference = published_file(job, "prepare/prepared.h5ad").parent
    published_file(job, "prepare/summary.json")
    prepare_query(job.params, reference, folder, report=job.reporter.say, progress=job.progress)
    check_levels(read_cells(folder / "prepared.h5ad"), job.params.level_keys)
