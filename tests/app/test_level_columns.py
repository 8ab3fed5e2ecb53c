"""Coarser levels of the reference's labels on Data: found by themselves, offered, and kept."""

from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.params import RunParams
from labeltransfer.storage import files
from labeltransfer.storage.home import home
from tests.support.pages import app

DRAFT = "b" * 16


@pytest.fixture
def levelled(lt_home: Path, small_params: RunParams, tmp_path: Path) -> Iterator[RunParams]:
    """The small demo pair, whose reference has a coarser column and one that is none."""
    cells = ad.read_h5ad(small_params.reference.path)
    labels = cells.obs[small_params.reference.labels_key].astype(str)
    cells.obs["family"] = labels.map(lambda label: "B lineage" if "B cell" in label else "others")
    cells.obs["half"] = ["one", "two"] * (len(labels) // 2) + ["one"] * (len(labels) % 2)
    cells.write_h5ad(tmp_path / "levelled.h5ad")
    side = small_params.reference.model_copy(update={"path": str(tmp_path / "levelled.h5ad")})
    yield small_params.model_copy(update={"reference": side})
    st.cache_data.clear()
    st.cache_resource.clear()


def opened(params: RunParams, *, with_levels: bool) -> AppTest:
    """The Data page with a draft; one of an earlier run brings its own levels."""
    left_out = set() if with_levels else {"level_keys", "error_to_bear"}
    (home() / "drafts").mkdir(exist_ok=True)
    held = {"settings": params.model_dump(mode="json", exclude=left_out), "notes": {}}
    files.write_json(home() / "drafts" / f"{DRAFT}.json", held)
    at = app(draft=DRAFT)
    assert not at.exception
    return at


def kept() -> dict[str, object]:
    settings: dict[str, object] = files.read_json(home() / "drafts" / f"{DRAFT}.json")["settings"]
    return settings


def test_columns_that_are_levels_are_offered_and_taken(levelled: RunParams) -> None:
    at = opened(levelled, with_levels=False)
    (box,) = [m for m in at.multiselect if m.label == "Coarser label columns"]
    assert "family" in box.options and "half" not in box.options and "family" in box.value
    assert "family" in list(kept()["level_keys"])
    assert kept()["error_to_bear"] == 0.05
    box.set_value([]).run()
    assert kept()["level_keys"] == []


def test_those_of_an_earlier_run_stay_as_they_were(levelled: RunParams) -> None:
    asked = levelled.model_copy(update={"level_keys": (), "error_to_bear": 0.1})
    at = opened(asked, with_levels=True)
    (box,) = [m for m in at.multiselect if m.label == "Coarser label columns"]
    assert box.value == [] and kept()["level_keys"] == []
    assert kept()["error_to_bear"] == 0.1
