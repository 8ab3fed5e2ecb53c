"""What a published reference is, on one card."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import AfterValidator

from labeltransfer.data.prepare.prepared import read_columns, read_genes
from labeltransfer.params import MappingParams, RunParams, run_params
from labeltransfer.results.trust.consensus import held_out_report
from labeltransfer.runs.records.run import Count, Run
from labeltransfer.storage import files
from labeltransfer.storage.records import Seconds


def _judged(scores: dict[str, Any]) -> dict[str, Any]:
    """Refuse scores that do not say of how many cells how many were right."""
    n_cells, accuracy = scores.get("n_cells"), scores.get("accuracy")
    if not isinstance(n_cells, int) or (n_cells and not (isinstance(accuracy, float) and 0 <= accuracy <= 1)):
        raise ValueError("they do not say how many held-out cells were right")
    return scores


@dataclass(frozen=True)
class Card:
    """What a published reference is.

    ``genes`` are those that the models see, in their order; ``labels`` and ``batches`` count cells. ``scores`` are
    scANVI's on reference cells that it was not trained on, see :func:`.opinions.held_out_report`. ``settings`` are
    those of the run, ``published`` is in seconds since the epoch, and ``checksums`` are of every file, by its name.
    """

    name: str
    description: str
    owner: str
    published: Seconds
    run_id: str
    file: str
    technology: str
    n_cells: Count
    n_genes: Count
    labels: dict[str, int]
    batches: dict[str, int]
    genes: list[str]
    scores: Annotated[dict[str, Any], AfterValidator(_judged)]
    settings: dict[str, Any]
    versions: dict[str, str]
    checksums: dict[str, str]
    digest: str = ""
    """Of the card's own file; not written into it."""

    def run_settings(self) -> RunParams:
        """Settings of the run that trained it."""
        return run_params(self.settings)


def make_card(run: Run, folder: Path, name: str, description: str, owner: str, checksums: dict[str, str]) -> Card:
    """The card of what lies in ``folder``."""
    summary = files.read_json(folder / "prepare" / "summary.json")["reference"]
    genes = read_genes(folder / "prepare" / "prepared.h5ad")
    labels = read_columns(folder / "prepare" / "prepared.h5ad", ["observed_label"])["observed_label"]
    held_out = np.load(folder / "transfer" / "held_out.npy")
    soft = pd.read_parquet(folder / "transfer" / "soft.parquet")
    scores = held_out_report(soft.iloc[held_out], labels.to_numpy(dtype=object)[held_out], seed=run.params.seed)
    return Card(
        name=name,
        description=description,
        owner=owner,
        published=time.time(),
        run_id=run.id,
        file=Path(run.params.reference.path).name,
        technology=summary["technology"],
        n_cells=summary["n_cells"],
        n_genes=len(genes),
        labels=summary["labels"],
        batches=summary["batches"],
        genes=genes.index[genes["highly_variable"]].astype(str).to_list(),
        scores=scores,
        settings=run.params.model_dump(mode="json"),
        versions=files.read_json(folder / "transfer" / "stage.json")["versions"],
        checksums=checksums,
    )


def mapping_params(card: Card) -> dict[str, Any]:
    """Sections of the settings of a run that maps a query onto a reference, as plain data.

    How the reference was made stays as its run had it, but for scANVI's pace, which is left to the mapping's own rule
    (:func:`.presets.mapping_pace`).
    """
    made = card.run_settings()
    pace = {"loop": "scvi-tools", "max_epochs": None, "batch_size": None, "lr": None, "early_stopping": False}
    sections = {
        "reference": made.reference,
        "integrate": made.integrate,
        "transfer": made.transfer.model_copy(update=pace),
        "mapping": MappingParams(reference=card.name, digest=card.digest),
    }
    return {name: settings.model_dump(mode="json") for name, settings in sections.items()}
