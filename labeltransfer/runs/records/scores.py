"""What lists of runs show of the scores of each: a checked part of ``metrics.json``."""

from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from labeltransfer.errors import RunError
from labeltransfer.runs.records.run import Count, Run
from labeltransfer.storage.files import SAME_SETTINGS
from labeltransfer.storage.records import read_record

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SideScores(BaseModel):
    """Cells of one side and how many were right, where it has labels to compare with."""

    n_cells: Count
    n_scored: Count = 0
    n_correct: Count = 0
    n_labels: Count = 0
    accuracy: Share | None = None
    macro_f1: Share | None = None


class Scores(BaseModel):
    """Both sides of a finished run."""

    reference: SideScores
    query: SideScores


_SCORES = TypeAdapter(Scores)


def read_scores(run: Run) -> Scores:
    """Scores of a finished run; raises RunError where it has none or they are damaged."""
    path = run.artefacts.metrics
    found = read_record(path, _SCORES, way_out=SAME_SETTINGS)
    if found is None:
        raise RunError(f"Run {run.id} has no scores: start it again to make them.")
    return found
