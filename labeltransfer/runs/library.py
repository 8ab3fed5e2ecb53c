"""The library of references: trained models that were published under a name, for queries to be mapped onto.

``$LABELTRANSFER_HOME/references/<name>/`` holds copies of the stages ``prepare``, ``integrate`` and ``transfer`` of a run
that trained a reference alone, and ``card.json``, which says what they are. A reference is written beside its place and
renamed into it. Models are loaded through ``torch.load``, which runs what it reads: so none comes in from outside, and
a file is handed out only while it is the one that was published, below this folder and no link.
"""

import hashlib
import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer import home
from labeltransfer.data.prepared import read_columns, read_genes
from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.params import MappingParams, RunParams
from labeltransfer.results.opinions import held_out_report
from labeltransfer.runs.run import Run
from labeltransfer.runs.store import Store, sync
from labeltransfer.settings import run_params

STAGES = ("prepare", "integrate", "transfer")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
CARD = "card.json"
MOST_WORDS = 2000
"""Characters of a description."""


@dataclass(frozen=True)
class Card:
    """What a published reference is.

    ``genes`` are those that the models see, in their order; ``labels`` and ``batches`` count cells. ``scores`` are
    scANVI's on reference cells that it was not trained on, see :func:`.opinions.held_out_report`. ``settings`` are those
    of the run, ``published`` is in seconds since the epoch, and ``checksums`` are of every file, by its name.
    """

    name: str
    description: str
    owner: str
    published: float
    run_id: str
    file: str
    technology: str
    n_cells: int
    n_genes: int
    labels: dict[str, int]
    batches: dict[str, int]
    genes: list[str]
    scores: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    checksums: dict[str, str]
    digest: str = ""
    """Of the card's own file; not written into it."""

    def run_settings(self) -> RunParams:
        """Settings of the run that trained it."""
        return run_params(self.settings)


@dataclass(frozen=True)
class Library:
    """The references under the folder ``root`` of a store."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "references"

    def cards(self) -> list[Card]:
        """Every reference whose card can be read, newest first."""
        found = []
        for path in self.folder.iterdir() if self.folder.is_dir() else []:
            if NAME.fullmatch(path.name):
                try:
                    found.append(self.card(path.name))
                except LabelTransferError:
                    continue
        return sorted(found, key=lambda card: -card.published)

    def card(self, name: str) -> Card:
        """What is published under a name.

        Raises
        ------
        RunError
            Nothing is, or its card is damaged.
        """
        path = self._inside(name, CARD)
        try:
            text = path.read_bytes()
            return Card(**(json.loads(text) | {"name": name, "digest": _digest(text)}))
        except FileNotFoundError:
            known = ", ".join(card.name for card in self.cards()) if self.folder.is_dir() else ""
            there = f"There are: {known}." if known else "None is published yet."
            raise RunError(f"No reference is published as '{name}'. {there}") from None
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"The card of the reference '{name}' is damaged: publish it again.") from error

    def file(self, mapping: MappingParams, name: str) -> Path:
        """Path of a file of the reference that a run is mapped onto, such as ``transfer/model/model.pt``.

        Raises
        ------
        RunError
            The reference was deleted or is another one by now, or the file is not what was published.
        """
        card = self.card(mapping.reference)
        if card.digest != mapping.digest:
            raise RunError(
                f"Another reference is published as '{card.name}' than the one that this run was asked to map onto: "
                "start the run again to take the new one."
            )
        path = self._inside(card.name, name)
        if not path.is_file() or _digest_of(path) != card.checksums.get(name):
            raise RunError(
                f"{name} of the reference '{card.name}' is not what was published: it was changed or damaged, and is "
                "not used. Publish the reference again."
            )
        return path

    def publish(
        self, run: Run, name: str, *, description: str = "", owner: str = "", admin: bool = True, replace: bool = False
    ) -> Card:
        """Publish what a run has trained.

        Parameters
        ----------
        run
            A finished run over a reference alone, with ``integrate.for_mapping``.
        name
            Letters, digits, dots, hyphens and underscores; the first a letter or digit.
        description
            A few words for those who choose.
        owner, admin
            Who publishes.
        replace
            Put it in the place of a reference of that name; only its owner or an admin may.

        Raises
        ------
        RunError
            The name cannot be used or is taken, the run cannot be published, or the disk does not take it.
        """
        path = self._inside(name, "").resolve()
        if len(description) > MOST_WORDS:
            raise RunError(f"The description has {len(description):,} characters: at most {MOST_WORDS:,} are kept.")
        sources = _publishable(run)
        with Store(self.root).lock("references"):
            if path.exists():
                if not replace:
                    raise RunError(f"A reference '{name}' is published already: choose another name, or replace it.")
                self._check_owner(name, owner, admin)
            try:
                self._clear_leftovers()
                building = self.folder / f".{name}~{secrets.token_hex(4)}"
                for stage, source in sources.items():
                    shutil.copytree(source, building / stage)
                checksums = {
                    file.relative_to(building).as_posix(): _digest_of(file)
                    for file in sorted(building.rglob("*"))
                    if file.is_file()
                }
                card = _card(run, building, name, description.strip(), owner, checksums)
                content = {key: value for key, value in asdict(card).items() if key != "digest"}
                home.write_json(building / CARD, content)
                sync(building)
                if path.exists():
                    path.rename(self.folder / f".{name}~old")
                building.rename(path)
            except OSError as error:
                raise RunError(f"The reference cannot be kept in {self.folder} ({error.strerror}): free some space.") from error
            finally:
                self._clear_leftovers()
        return self.card(name)

    def delete(self, name: str, *, owner: str = "", admin: bool = True) -> None:
        """Delete a reference; results of runs that were mapped onto it stay.

        Raises
        ------
        RunError
            There is none, or it belongs to somebody else.
        """
        path = self._inside(name, "")
        with Store(self.root).lock("references"):
            if not path.exists():
                self.card(name)  # says which there are
            self._check_owner(name, owner, admin)
            # Out of sight in one step: nobody finds half of it.
            path.rename(self.folder / f".{name}~old")
            self._clear_leftovers()

    def _check_owner(self, name: str, owner: str, admin: bool) -> None:
        try:
            theirs = self.card(name).owner
        except RunError:  # a damaged card says no owner
            theirs = ""
        if not admin and theirs != owner:
            raise RunError(f"The reference '{name}' belongs to {theirs or 'nobody'}: only its owner or an admin may do this.")

    def _inside(self, name: str, file: str) -> Path:
        """Path below a reference's folder; nothing that leads out of it, by its name or by a link."""
        if not NAME.fullmatch(name):
            raise RunError(
                f"'{name}' cannot be the name of a reference: up to 63 letters, digits, dots, hyphens and underscores, "
                "the first one a letter or a digit."
            )
        path = self.folder / name / file
        if path.resolve() != self.folder.resolve() / name / file:
            raise RunError(f"The reference '{name}' holds a link, which is not followed: publish it again.")
        return path

    def _clear_leftovers(self) -> None:
        """Remove what was half-built or half-deleted; only called by who holds the lock."""
        for path in self.folder.glob(".*~*") if self.folder.is_dir() else []:
            shutil.rmtree(path, ignore_errors=True)


def why_not(params: RunParams) -> str:
    """Why a run with these settings cannot be published, in words; empty where it can."""
    if not params.reference_alone:
        return (
            "Only a run over a reference alone can be published: one that was trained with a query knows that query's "
            "cells too. Train the reference alone, which the References page and 'train-reference' do."
        )
    if not params.integrate.for_mapping:
        return (
            "This run's architecture cannot take new batches: its encoder does not see the batch, so nothing in it "
            "could learn from a query (scvi-tools calls encode_covariates essential here). Train it with the preset "
            "Atlas reference."
        )
    return ""


def _publishable(run: Run) -> dict[str, Path]:
    """Folder of each stage that is published; raises RunError where the run cannot be."""
    if reason := why_not(run.params):
        raise RunError(reason)
    if run.status().state != "done":
        raise RunError(f"Run {run.id} is {run.status().state}: only a finished one can be published.")
    return {stage: run.artefact(stage) for stage in STAGES}


def _card(run: Run, folder: Path, name: str, description: str, owner: str, checksums: dict[str, str]) -> Card:
    """The card of what lies in ``folder``."""
    summary = home.read_json(folder / "prepare" / "summary.json")["reference"]
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
        versions=home.read_json(folder / "transfer" / "stage.json")["versions"],
        checksums=checksums,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
