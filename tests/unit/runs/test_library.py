"""The library of references: what is published, who may change it, and that nothing else is ever handed out."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from labeltransfer.cli.main import main
from labeltransfer.errors import RunError
from labeltransfer.params import IntegrateParams, MappingParams, RunParams, SideParams
from labeltransfer.presets import PRESETS
from labeltransfer.runs.library import library as library_module
from labeltransfer.runs.library.library import CARD, Library, check_made_for_it
from labeltransfer.runs.library.reference_card import Card, mapping_params
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.pipeline import stage_keys, stages_of

MODEL = "transfer/model/model.pt"


@pytest.fixture
def library(reference_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """An empty library of its own, which is that of the command line too."""
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "home"))
    return Library(tmp_path / "home")


def mapping(card: Card) -> MappingParams:
    return MappingParams(reference=card.name, digest=card.digest)


def test_a_card_says_what_was_published(reference_run: Run, published: Card) -> None:
    assert published.n_cells == sum(published.labels.values()) == 300
    assert len(published.labels) >= 2 and len(published.genes) == 300 < published.n_genes
    model = torch.load(reference_run.root / "references" / "marrow" / MODEL, weights_only=False)
    assert published.genes == list(model["var_names"]), "the genes are the model's, in its order"
    scores = published.scores
    assert scores["n_cells"] > 10 and 0 <= scores["accuracy"] <= 1 and scores["temperature"] > 0
    assert published.run_settings() == reference_run.params
    assert published.run_id == reference_run.id and "scvi-tools" in published.versions
    assert Library(reference_run.root).file(mapping(published), MODEL).is_file()


@pytest.mark.parametrize("name", ["", "..", "../marrow", "a/b", "/etc", ".hidden", "two words", "x" * 64, "ä", "a\n"])
def test_a_name_that_leads_elsewhere_is_refused(library: Library, reference_run: Run, name: str) -> None:
    for attempt in (
        lambda: library.publish(reference_run, name),
        lambda: library.card(name),
        lambda: library.delete(name),
    ):
        with pytest.raises(RunError, match="cannot be the name of a reference"):
            attempt()


def test_nothing_is_overwritten_without_saying_so(library: Library, reference_run: Run) -> None:
    first = library.publish(reference_run, "marrow", description="first")
    with pytest.raises(RunError, match="published already"):
        library.publish(reference_run, "marrow", description="second")
    second = library.publish(reference_run, "marrow", description="second", replace=True)
    assert [card.description for card in library.cards()] == ["second"]
    with pytest.raises(RunError, match="Another reference is published"):
        library.file(mapping(first), MODEL)
    assert library.file(mapping(second), MODEL).is_file()
    assert [path.name for path in library.folder.iterdir()] == ["marrow"], "nothing else is left there"


def test_a_reference_is_whole_or_not_there(
    library: Library, reference_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library_module, "sync", full)
    with pytest.raises(RunError, match="free some space"):
        library.publish(reference_run, "marrow")
    assert library.cards() == [] and list(library.folder.iterdir()) == []


def test_a_reference_that_cannot_be_replaced_stays(library: Library, reference_run: Run) -> None:
    library.publish(reference_run, "marrow")
    with pytest.raises(OSError):
        library_module._put_in_place(library.folder / "nowhere", library.folder / "marrow", library.folder / ".old")
    assert [card.name for card in library.cards()] == ["marrow"]


def test_only_its_owner_or_an_admin_changes_a_reference(library: Library, reference_run: Run) -> None:
    ada, ben = Person("ada@lab", admin=False), Person("ben@lab", admin=False)
    library.publish(reference_run, "marrow", by=ada)
    with pytest.raises(RunError, match="belongs to ada@lab"):
        library.publish(reference_run, "marrow", by=ben, replace=True)
    with pytest.raises(RunError, match="belongs to ada@lab"):
        library.delete("marrow", by=ben)
    library.publish(reference_run, "marrow", by=ada, replace=True)
    library.delete("marrow", by=Person("root@lab", admin=True))
    with pytest.raises(RunError, match="None is published yet"):
        library.delete("marrow")


def test_a_changed_model_file_is_refused(library: Library, reference_run: Run) -> None:
    card = library.publish(reference_run, "marrow")
    path = library.file(mapping(card), MODEL)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="not what was published"):
        library.file(mapping(card), MODEL)
    path.unlink()
    with pytest.raises(RunError, match="not what was published"):
        library.file(mapping(card), MODEL)


def test_no_link_leads_out_of_the_library(library: Library, reference_run: Run, tmp_path: Path) -> None:
    card = library.publish(reference_run, "marrow")
    path = library.file(mapping(card), MODEL)
    elsewhere = path.rename(tmp_path / "model.pt")
    path.symlink_to(elsewhere)
    with pytest.raises(RunError, match="link"):
        library.file(mapping(card), MODEL)
    (library.folder / "outside").symlink_to(library.folder / "marrow")
    with pytest.raises(RunError, match="link"):
        library.card("outside")
    with pytest.raises(RunError, match="not what was published"):
        library.file(mapping(card), "transfer/model/other.pt")
    with pytest.raises(RunError, match="link"):
        library.file(mapping(card), "../../secret")


def test_a_damaged_card_is_said_and_not_listed(library: Library, reference_run: Run) -> None:
    library.publish(reference_run, "marrow")
    (library.folder / "marrow" / CARD).write_text("{")
    with pytest.raises(RunError, match="damaged"):
        library.card("marrow")
    assert library.cards() == []
    library.delete("marrow")
    assert not (library.folder / "marrow").exists()


def test_what_cannot_be_mapped_onto_is_not_published(small_params: RunParams, reference_run: Run) -> None:
    with pytest.raises(RunError, match="over a reference alone"):
        check_made_for_it(small_params)
    plain = reference_run.params.model_copy(update={"integrate": IntegrateParams()})
    with pytest.raises(RunError, match="encoder does not see the batch"):
        check_made_for_it(plain)
    check_made_for_it(plain.model_copy(update=PRESETS["atlas"]))


def test_an_unfinished_run_is_not_published(library: Library, reference_run: Run) -> None:
    waiting = Store(library.root).create(reference_run.params)
    with pytest.raises(RunError, match="is queued"):
        library.publish(waiting, "marrow")


def test_a_run_over_a_reference_alone_ends_with_its_labels_model(reference_run: Run) -> None:
    assert stages_of(reference_run.params) == ["prepare", "integrate", "transfer"]
    assert list(reference_run.stage_keys()) == ["prepare", "integrate", "transfer"]


def test_settings_that_came_later_leave_older_artefacts_their_keys(small_params: RunParams) -> None:
    keys = stage_keys(small_params)
    for_mapping = small_params.integrate.model_copy(update={"for_mapping": True})
    other = stage_keys(small_params.model_copy(update={"integrate": for_mapping}))
    assert other["prepare"] == keys["prepare"] and other["integrate"] != keys["integrate"]


def test_a_mapping_keeps_how_its_reference_was_made(published: Card, reference_run: Run) -> None:
    made = RunParams.model_validate(mapping_params(published) | {"query": SideParams(path="q.h5ad")})
    assert made.reference == reference_run.params.reference and made.integrate == reference_run.params.integrate
    assert made.transfer.max_epochs is None and made.mapping == mapping(published)


def test_the_command_line_lists_publishes_and_deletes(
    library: Library, reference_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["references"]) == 0 and "No reference is published" in capsys.readouterr().out
    for folder in ("runs", "stages"):  # the run is in this store too
        (tmp_path / "home" / folder).symlink_to(reference_run.root / folder)
    assert main(["publish", reference_run.id, "--name", "marrow", "--description", "Small."]) == 0
    assert main(["publish", reference_run.id, "--name", "marrow"]) == 2
    assert "published already" in capsys.readouterr().err
    assert main(["references"]) == 0
    listed = capsys.readouterr().out
    assert "marrow" in listed and "300 cells" in listed and "held-out cells right" in " ".join(listed.split())
    assert main(["references", "--delete", "marrow"]) == 0 and library.cards() == []


def test_a_card_is_json_that_names_every_file(published: Card, reference_run: Run) -> None:
    folder = reference_run.root / "references" / "marrow"
    card = json.loads((folder / CARD).read_text())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(card["checksums"]) == files - {CARD}


CARD_DAMAGES = {
    "null": b"null",
    "cut": b'{"name": "marrow"',
    "deep": b"[" * 200_000,
    "no utf-8": b'{"description": "\xff"}',
    "no time": b'{"published": null}',
    "empty": b"",
}


@pytest.mark.parametrize("about", [*CARD_DAMAGES, "a wrong field", "a folder", "a link to nothing", "gone"])
def test_a_damaged_card_hides_no_other_and_is_named_and_deletable(
    library: Library, published: Card, reference_run: Run, about: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(reference_run.root / "references" / "marrow", library.folder / "good")
    shutil.copytree(library.folder / "good", library.folder / "bad")
    card = library.folder / "bad" / CARD
    content = json.loads(card.read_text())
    card.unlink()
    if about in CARD_DAMAGES:
        card.write_bytes(CARD_DAMAGES[about])
    elif about == "a wrong field":
        card.write_text(json.dumps(content | {"scores": {"n_cells": 3}}))
    elif about == "a folder":
        card.mkdir()
    elif about == "a link to nothing":
        card.symlink_to("nowhere")
    assert [found.name for found in library.cards()] == ["good"]
    assert set(library.damaged()) == {"bad"}
    assert main(["references"]) == 0 and "bad  damaged" in capsys.readouterr().out
    with pytest.raises(RunError):
        library.delete("bad", by=Person("ada", admin=False))
    assert main(["references", "--delete", "bad"]) == 0
    assert not library.damaged()


@pytest.mark.parametrize("name", ["model/model.pt", "held_out.npy", "extra.txt"])
def test_what_the_run_did_not_make_is_not_published(
    library: Library, reference_run: Run, tmp_path: Path, name: str
) -> None:
    root = tmp_path / "copy"
    for part in ("runs", "stages"):
        shutil.copytree(reference_run.root / part, root / part)
    run = Run(root / "runs" / reference_run.id)
    path = run.artefact("transfer") / name
    if path.exists():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_text("put there by hand")
    with pytest.raises(RunError, match=rf"transfer/{name}.* is not what the run made"):
        library.publish(run, "marrow")
    assert library.cards() == [] and list(library.folder.iterdir()) == []
