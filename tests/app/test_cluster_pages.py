"""Pages of a run that goes to a cluster."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeltransfer.params import RunParams
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start import executors
from tests.support import ROOT
from tests.support.job_api import JobApi


@pytest.fixture
def store(cluster_store: Store) -> Store:
    return cluster_store


def test_a_page_shows_what_the_cluster_says(store: Store, api: JobApi, small_params: RunParams) -> None:
    run = store.create(small_params)
    executors.start(run)
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = run.id
    at.run().switch_page("pages/train.py").run()
    assert not at.exception
    assert any("Waiting for its turn on the cluster" in i.value and "Two are before it." in i.value for i in at.info)


def test_the_form_says_that_a_run_goes_to_the_cluster(store: Store, lt_home: Path, small_params: RunParams) -> None:
    sides = {side: getattr(small_params, side).model_dump(mode="json") for side in ("reference", "query")}
    (lt_home / "drafts").mkdir(parents=True)
    (lt_home / "drafts" / f"{'0a' * 8}.json").write_text(json.dumps({"settings": sides, "notes": {}}))
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["draft"] = "0a" * 8
    at.run().switch_page("pages/train.py").run()
    assert not at.exception
    said = " ".join(element.value for element in at.markdown)
    assert "It runs on the cluster, as soon as that has a place free." in said and "cores" not in said
