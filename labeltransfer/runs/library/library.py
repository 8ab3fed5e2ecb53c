"""The library of references: trained models that were published under a name, for queries to be mapped onto.

``$LABELTRANSFER_HOME/references/<name>/`` holds copies of the stages ``prepare`` and ``transfer`` of a run that trained
a reference alone, and ``card.json``, which says what they are. A reference is written next to its place and renamed
into it. Models are loaded through ``torch.load``, which runs what it reads: so none comes in from outside, and a
file is given out only while it is the one that was published, below this folder and no link.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import from_json

from labeltransfer.errors import DamagedError, LabelTransferError, RunError
from labeltransfer.params import MappingParams, RunParams
from labeltransfer.runs.library.reference_card import Card, make_card
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.activity import note
from labeltransfer.runs.records.checksums import FILE as SEALED_BY
from labeltransfer.runs.records.checksums import sealed
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store, sync
from labeltransfer.storage import files
from labeltransfer.storage.digests import digest, file_digest
from labeltransfer.storage.files import SAME_SETTINGS
from labeltransfer.storage.records import faults, is_there, read_content

STAGES = ("prepare", "transfer")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
CARD = "card.json"
ANYBODY = Person()
"""Where nobody is asked to sign in, and on the command line."""

_CARD = TypeAdapter(Card)

MOST_WORDS = 2000
"""Characters of a description."""


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
        for name in self._names():
            try:
                found.append(self.card(name))
            except LabelTransferError:
                continue
        return sorted(found, key=lambda card: -card.published)

    def damaged(self) -> dict[str, str]:
        """Why the cards of the others cannot be read, by name; an admin can delete or replace these."""
        found = {}
        for name in self._names():
            try:
                self.card(name)
            except LabelTransferError as error:
                found[name] = str(error)
        return found

    def _names(self) -> list[str]:
        """Names that something is published under, as far as the folder can be read."""
        with suppress(OSError):
            return sorted(name for name in os.listdir(self.folder) if NAME.fullmatch(name))
        return []

    def card(self, name: str) -> Card:
        """What is published under a name.

        Raises
        ------
        RunError
            Nothing is, or its card is damaged.
        """
        path = self._inside(name, CARD)
        way_out = "publish it again, or delete it"
        text = read_content(path, way_out=way_out)
        if text is None and not is_there(path.parent):
            known = ", ".join(card.name for card in self.cards())
            there = f"There are: {known}." if known else "None is published yet."
            raise RunError(f"No reference is published as '{name}'. {there}")
        if text is None:
            raise DamagedError(path, "the card is gone", way_out)
        try:
            return _CARD.validate_python({**from_json(text), "name": name, "digest": digest(text)})
        except (ValueError, TypeError) as error:
            raise DamagedError(path, faults(error), way_out) from error

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
        if not path.is_file() or file_digest(path) != card.checksums.get(name):
            raise RunError(
                f"{name} of the reference '{card.name}' is not what was published: it was changed or damaged, and is "
                "not used. Publish the reference again."
            )
        return path

    def publish(
        self, run: Run, name: str, *, description: str = "", by: Person = ANYBODY, replace: bool = False
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
        by
            Who publishes.
        replace
            Put it in the place of a reference of that name; only its owner or an admin may.

        Raises
        ------
        RunError
            The name cannot be used or is taken, the run cannot be published, or the disk does not take it.
        """
        if len(description) > MOST_WORDS:
            raise RunError(f"The description has {len(description):,} characters: at most {MOST_WORDS:,} are kept.")
        sources = _publishable(run)
        with Store(self.root).lock("references"):
            path = self.free(name, by=by, replace=replace)
            try:
                self._clear_leftovers()
                building = self.folder / f".{name}~{secrets.token_hex(4)}"
                for stage, source in sources.items():
                    shutil.copytree(source, building / stage)
                checksums = {
                    file.relative_to(building).as_posix(): file_digest(file)
                    for file in sorted(building.rglob("*"))
                    if file.is_file()
                }
                _check_copies(run, sources, checksums)
                card = make_card(run, building, name, description.strip(), by.name, checksums)
                content = {key: value for key, value in asdict(card).items() if key != "digest"}
                files.write_json(building / CARD, content)
                sync(building)
                _put_in_place(building, path, self.folder / f".{name}~old")
                files.sync_names(self.folder)
            except OSError as error:
                raise RunError(
                    f"The reference cannot be kept in {self.folder} ({error.strerror}): free some space."
                ) from error
            finally:
                self._clear_leftovers()
        note(self.root, "published", by.name, thing="reference", name=name)
        return self.card(name)

    def free(self, name: str, *, by: Person = ANYBODY, replace: bool = False) -> Path:
        """Folder of a name that may be published under; raises RunError as :meth:`publish` does."""
        path = self._inside(name, "")
        if path.exists():
            if not replace:
                raise RunError(f"A reference '{name}' is published already: choose another name, or replace it.")
            self._check_owner(name, by)
        return path

    def may_change(self, card: Card, by: Person) -> bool:
        """Whether a person may delete or replace a reference: its owner and admins."""
        return by.admin or (by.name != "" and card.owner == by.name)

    def n_bytes(self, name: str) -> int:
        """Space that a reference takes on disk."""
        total = 0
        for path in self._inside(name, "").rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
        return total

    def delete(self, name: str, *, by: Person = ANYBODY, digest: str | None = None) -> None:
        """Delete a reference; results of runs that were mapped onto it stay.

        Parameters
        ----------
        name
            What it is published as.
        by
            Who deletes.
        digest
            That of the card that the person was asked about: another reference under the same name stays.

        Raises
        ------
        RunError
            There is none or another one by now, it belongs to another person, or a run is about to use it.
        """
        path = self._inside(name, "")
        with Store(self.root).lock("references"):
            if not path.exists():
                self.card(name)  # says which there are
            self._check_owner(name, by)
            if digest is not None and self.card(name).digest != digest:
                raise RunError(
                    f"Another reference was published as '{name}' after you were asked, so it stays: look at it again."
                )
            if users := self._runs_in_need(name):
                n_runs = f"{len(users)} runs that are" if len(users) > 1 else "a run that is"
                raise RunError(
                    f"The reference '{name}' stays: {n_runs} running or waiting will read it, such as {users[0]}. "
                    "Delete it once they have ended, or cancel them first."
                )
            # Out of sight in one step: nobody finds half of it.
            path.rename(self.folder / f".{name}~old")
            self._clear_leftovers()
        note(self.root, "deleted", by.name, thing="reference", name=name)

    def _runs_in_need(self, name: str) -> list[str]:
        """Ids of the runs that are running or waiting and map onto a reference; one that is damaged needs none."""
        found = []
        for run in Store(self.root).runs():
            with suppress(LabelTransferError):
                mapping = run.params.mapping
                if mapping is not None and mapping.reference == name and not run.status().over:
                    found.append(run.id)
        return found

    def _check_owner(self, name: str, by: Person) -> None:
        if by.admin:  # whatever the card says, be it damaged
            return
        card = self.card(name)
        if not self.may_change(card, by):
            owner = card.owner or "nobody in particular"
            raise RunError(f"The reference '{name}' belongs to {owner}: only its owner or an admin may do this.")

    def _inside(self, name: str, file: str) -> Path:
        """Path below a reference's folder; nothing that leads out of it, by its name or by a link."""
        if not NAME.fullmatch(name):
            raise RunError(
                f"'{name}' cannot be the name of a reference: up to 63 letters, digits, dots, hyphens and underscores, "
                "the first one a letter or a digit."
            )
        path = self.folder / name / file
        if os.path.realpath(path) != os.path.join(os.path.realpath(self.folder), name, file).rstrip(os.sep):
            raise RunError(f"The reference '{name}' holds a link, which is not followed: publish it again.")
        return path

    def _clear_leftovers(self) -> None:
        """Remove what was half-built or half-deleted; only called by who holds the lock."""
        for path in self.folder.glob(".*~*") if self.folder.is_dir() else []:
            shutil.rmtree(path, ignore_errors=True)


def _check_copies(run: Run, sources: dict[str, Path], checksums: dict[str, str]) -> None:
    """Raise RunError where what was copied of a run is not what its stages were when they were completed.

    Parameters
    ----------
    run
        The run.
    sources
        Folder of each stage.
    checksums
        Digests of the copies, by their names below the stages' folders.
    """
    for stage, source in sources.items():
        kept = sealed(source)
        if kept is None:  # from before checksums were kept
            continue
        made = {f"{stage}/{name}": digest for name, (_, digest) in kept.items()}
        copied = {name: digest for name, digest in checksums.items() if name.startswith(f"{stage}/")}
        copied.pop(f"{stage}/{SEALED_BY}", None)
        differing = sorted(name for name in made.keys() | copied.keys() if made.get(name) != copied.get(name))
        if differing:
            raise RunError(
                f"{differing[0]} of run {run.id} is not what the run made: it was changed or damaged on the disk, and "
                f"is not published: {SAME_SETTINGS}, which makes the damaged parts again."
            )


def _put_in_place(building: Path, path: Path, old: Path) -> None:
    """Rename a folder to its place; what stood there goes to ``old``, and back where that fails."""
    if path.exists():
        path.rename(old)
    try:
        building.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise


def check_made_for_it(params: RunParams) -> None:
    """Raise RunError where a run with these settings cannot be published."""
    if not params.reference_alone:
        raise RunError(
            "Only a run over a reference alone can be published: one that was trained with a query knows that query's "
            "cells too. Train the reference alone, which the References page and 'train-reference' do."
        )
    if not params.integrate.for_mapping:
        raise RunError(
            "This run's architecture cannot take new batches: its encoder does not see the batch, so nothing in it "
            "could learn from a query (scvi-tools calls encode_covariates essential here). Train it with the preset "
            "Atlas reference."
        )


def _publishable(run: Run) -> dict[str, Path]:
    """Folder of each stage that is published; raises RunError where the run cannot be."""
    check_made_for_it(run.params)
    if run.status().state != "done":
        raise RunError(f"Run {run.id} is {run.status().state}: only a finished one can be published.")
    return {stage: run.artefact(stage) for stage in STAGES}
