"""The library of references on the pages: list, publish, train, choose for a query, delete."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.data.demo.simulate import QUERY
from labeltransfer.params import RunParams
from labeltransfer.presets import PRESETS
from labeltransfer.runs.library.library import Library
from labeltransfer.runs.library.reference_card import Card
from labeltransfer.runs.records.access import Person
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.start import executors
from pages.door import sign_in
from pages.shared.draft import Draft
from tests.app.test_steps import app, labels, press, said


@pytest.fixture
def library(lt_home: Path, published: Card, reference_run: Run) -> Iterator[Library]:
    """A server of its own with the finished run over a reference alone, and that reference published as "marrow"."""
    for name in ("runs", "stages", "references"):
        shutil.copytree(reference_run.root / name, lt_home / name)
    yield Library(lt_home)
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs whose worker would have been started; none is."""
    runs: list[Run] = []
    monkeypatch.setattr(executors, "start", runs.append)
    return runs


def choose(at: AppTest, kind: str, label: str, value: object) -> AppTest:
    next(widget for widget in getattr(at, kind) if widget.label == label).set_value(value)
    return at.run()


def test_the_library_shows_what_is_published(library: Library, published: Card) -> None:
    at = app("references")
    assert not at.exception
    assert "Small and simulated." in said(at)
    shown = {metric.label: metric.value for metric in at.metric}
    assert shown["Cells"] == "300" and shown["Genes"] == f"300 of {published.n_genes:,}"
    assert shown["Held-out accuracy"].endswith("%")


def test_a_finished_run_is_published_under_a_name(library: Library, reference_run: Run) -> None:
    at = app("references")
    assert next(button for button in at.button if button.label == "Publish").disabled, "it has no name yet"
    choose(at, "text_input", "Name", "../elsewhere")
    press(at, "Publish")
    assert "cannot be the name of a reference" in said(at)
    choose(at, "text_input", "Name", "marrow")
    press(at, "Publish")
    assert "published already" in said(at)
    choose(at, "text_input", "Name", "marrow-2")
    choose(at, "text_input", "Description", "For *everyone*")
    press(at, "Publish")
    assert not at.exception
    card = library.card("marrow-2")
    assert card.run_id == reference_run.id and card.description == "For *everyone*"


def test_a_reference_is_deleted_only_after_a_question(library: Library) -> None:
    at = app("references")
    press(at, "Delete")
    assert {"Delete for good", "Keep"} <= set(labels(at))
    assert [card.name for card in library.cards()] == ["marrow"]


def test_the_reference_of_another_person_can_be_seen_and_not_deleted(
    library: Library, reference_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.publish(reference_run, "marrow", by=Person("ada@lab"), replace=True)
    monkeypatch.setattr(sign_in, "visitor", lambda: Person("ben@lab", admin=False))
    at = app("references")
    assert "by ada@lab" in said(at)
    assert next(button for button in at.button if button.label == "Delete").disabled
    assert not next(button for button in at.button if button.label == "Map a query onto it").disabled


def test_a_query_is_mapped_from_choice_to_start(
    library: Library, published: Card, demo_pair: Path, started: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELTRANSFER_DATA_DIR", str(demo_pair))
    at = app("references")
    press(at, "Map a query onto it")
    at = at.switch_page("pages/data.py").run()
    assert not at.exception
    sources = [control for control in at.segmented_control if control.label == "Source"]
    assert sources[0].value == "library" and "library" not in sources[1].options
    sources[1].set_value("folder").run()
    choose(at, "selectbox", "File", QUERY)
    assert not at.exception
    assert "published reference's models see" in said(at)
    assert not next(button for button in at.button if button.label == "Continue to Preprocess").disabled
    at.switch_page("pages/preprocess.py").run()
    assert not at.exception and "Prepare" in labels(at)
    assert "Reference **marrow**" in said(at) and "over the published reference's genes" in said(at)
    assert not [widget for widget in at.number_input if widget.label == "Highly variable genes"]
    at.switch_page("pages/train.py").run()
    assert "The query is mapped onto **marrow**" in said(at) and "epochs over" in said(at)
    press(at, "Start training")
    params = started[0].params
    assert params.mapping is not None and params.mapping.digest == published.digest
    assert params.reference.labels_key == "cell_ontology_class" and params.query.path == str(demo_pair / QUERY)
    assert params.integrate == published.run_settings().integrate

    started[0].write_status(Status(state="cancelled"))
    library.delete("marrow")
    at = app(draft=at.query_params["draft"])
    assert not at.exception
    assert next(button for button in at.button if button.label == "Continue to Preprocess").disabled


def test_another_source_takes_the_published_reference_back(library: Library, published: Card) -> None:
    at = app("references")
    press(at, "Map a query onto it")
    at = at.switch_page("pages/data.py").run()
    next(control for control in at.segmented_control if control.label == "Source").set_value("upload").run()
    assert not at.exception
    held: Draft = at.session_state["draft_object"]
    assert held.settings.get("mapping") is None and "integrate" not in held.settings
    assert not held.settings["reference"].get("path")


def test_a_reference_is_trained_alone_from_what_is_chosen_on_data(
    library: Library, small_params: RunParams, started: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELTRANSFER_DATA_DIR", str(Path(small_params.reference.path).parent))
    assert "Choose a reference file and its label column on Data first" in said(app("references"))
    at = app()
    next(control for control in at.segmented_control if control.label == "Source").set_value("folder").run()
    choose(at, "selectbox", "File", Path(small_params.reference.path).name)
    at.switch_page("pages/references.py").run()
    press(at, "Train the reference")
    params = started[0].params
    assert params.reference_alone and params.mapping is None
    assert params.integrate == PRESETS["atlas"]["integrate"] and params.transfer == PRESETS["atlas"]["transfer"]


def test_pages_of_a_run_over_a_reference_alone_say_what_it_is(library: Library, reference_run: Run) -> None:
    for page in ("train", "preprocess", "explore", "export"):
        at = app(page, run=reference_run.id)
        assert not at.exception, page
    assert "publish it on References" in said(app("explore", run=reference_run.id))
    assert "Use these settings again" not in labels(app("train", run=reference_run.id))


def test_a_mapped_run_is_explored_compared_and_exported_like_any(library: Library, mapped_run: Run) -> None:
    for name in ("runs", "stages"):
        shutil.copytree(mapped_run.root / name, library.root / name, dirs_exist_ok=True)
    pages = {page: app(page, run=mapped_run.id) for page in ("train", "preprocess", "explore", "compare", "export")}
    for page, at in pages.items():
        assert not at.exception, page
        # two epochs teach little, and the app says so
        assert all("should not be trusted" in str(error.value) for error in at.error), page
    assert "Map with scANVI" in said(pages["train"]) and "Train scVI" not in said(pages["train"])
    maps = next(control for control in pages["explore"].segmented_control if control.label == "Map of")
    assert list(maps.options) == ["scANVI"]
    assert "mapped onto a published reference" in said(pages["explore"]), "why no label can be hidden"
    assert "has no script" in said(pages["export"])
