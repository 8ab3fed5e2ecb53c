"""The files of a run's stage artefacts: the one table of which stage makes which file.

``run.artefacts.cells`` is the path of such a file, ``run.whole_artefacts.cells`` the same once its checksum was
compared, and ``Artefacts.cells`` says the stage and the name under which its maker writes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import overload


@dataclass(frozen=True)
class Artefact:
    """One file, or folder, of a stage's artefact."""

    stage: str
    name: str

    @overload
    def __get__(self, owner: None, kind: type) -> "Artefact": ...

    @overload
    def __get__(self, owner: "Artefacts", kind: type) -> Path: ...

    def __get__(self, owner: "Artefacts | None", kind: type) -> "Artefact | Path":
        return self if owner is None else owner.path(self.stage, self.name)


class Artefacts:
    """Paths of the files of one run; each raises RunError where the run has no such file, see :meth:`.Run.artefact`.

    Parameters
    ----------
    path
        Gives the path of a file by its stage and name.
    """

    prepared = Artefact("prepare", "prepared.h5ad")
    """Both sides joined: counts, genes, the cells' batches and labels."""
    summary = Artefact("prepare", "summary.json")
    """What the preparation counted."""
    scvi_model = Artefact("integrate", "model")
    scvi_latent = Artefact("integrate", "latent.npy")
    """Float array of shape (n_cells, n_latent)."""
    scvi_mde = Artefact("embed_scvi", "mde.npy")
    """Float array of shape (n_cells, 2)."""
    scanvi_model = Artefact("transfer", "model")
    scanvi_latent = Artefact("transfer", "latent.npy")
    """Float array of shape (n_cells, n_latent)."""
    soft = Artefact("transfer", "soft.parquet")
    """scANVI's probabilities, a row a cell and a column a label."""
    held_out = Artefact("transfer", "held_out.npy")
    """Rows of the reference cells that scANVI was not trained on."""
    scanvi_mde = Artefact("embed_scanvi", "mde.npy")
    """Float array of shape (n_cells, 2)."""
    opinions = Artefact("opinions", "opinions.parquet")
    """What each classifier says, a row a cell."""
    probabilities = Artefact("opinions", "probabilities.parquet")
    """Calibrated probabilities of the method whose label is handed out, a column a label."""
    opinions_trust = Artefact("opinions", "trust.json")
    """Scores of the classifiers on held-out cells, and the alarm."""
    cells = Artefact("evaluate", "cells.parquet")
    """Everything that a page or a CSV shows, a row a cell."""
    metrics = Artefact("evaluate", "metrics.json")
    terms = Artefact("evaluate", "terms.json")
    """What the labels mean in the Cell Ontology."""
    audit = Artefact("evaluate", "audit.parquet")
    audit_csv = Artefact("evaluate", "audit.csv")
    trust = Artefact("evaluate", "trust.json")
    """``opinions_trust`` with scores on the query."""

    def __init__(self, path: Callable[[str, str], Path]) -> None:
        self.path = path

    def latent(self, stage: str) -> Path:
        """The latent of the stage ``integrate`` or ``transfer``."""
        return self.path(stage, self.__class__.scvi_latent.name)

    def model(self, stage: str) -> Path:
        """The model of the stage ``integrate`` or ``transfer``, a folder."""
        return self.path(stage, self.__class__.scvi_model.name)

    def history(self, stage: str) -> Path:
        """The losses of the training of the stage ``integrate`` or ``transfer``, an event an epoch."""
        return self.path(stage, "history.json")

    def made(self, stage: str) -> Path:
        """How a stage was made: params, seconds, device, versions."""
        return self.path(stage, "stage.json")
