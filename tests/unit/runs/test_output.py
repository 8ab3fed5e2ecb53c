"""What leaves a finished run says nothing of the machine that it was carried out on."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.runs.output.deliver import annotated, deliver
from labeltransfer.runs.output.settings import exported_settings, params_json
from labeltransfer.runs.output.supplement import report_html, write_supplement
from labeltransfer.runs.records.run import Run
from labeltransfer.storage import files
from tests.support.builders import unseal
from tests.support.pages import finished_run

PLACE = "secret-place"


@pytest.fixture
def run(lt_home: Path) -> Run:
    """A finished run whose inputs were in folders of the server."""
    made = finished_run()
    stored = made.folder / "params.json"
    asked = json.loads(stored.read_text())
    asked["reference"]["path"] = f"/home/ada/{PLACE}/facs.h5ad"
    asked["query"]["path"] = f"/srv/{PLACE}/uploads/0f3a/droplet.h5ad"
    asked["prepare"] |= {"gene_lengths": f"~/{PLACE}/lengths.txt", "length_normalize": "reference"}
    stored.write_text(json.dumps(asked))
    (made.artefact("evaluate") / "audit.csv").write_text("observed_label\n")
    files.write_json(made.artefact("evaluate") / "terms.json", {})
    for stage in made.stage_keys():
        files.write_json(made.artefact(stage) / "stage.json", {"seconds": 1.0})
    counted = {"technology": "10x", "counts": "X", "n_cells": 20, "n_cells_in_file": 99, "n_labelled": 9}
    sides = {side: counted | {"n_genes_in_file": 4} for side in ("reference", "query")}
    files.write_json(made.artefact("prepare") / "summary.json", sides)
    (made.artefacts.scvi_model / "model.pt").write_bytes(b"weights")
    unseal(made)
    return Run(made.folder)


def test_exported_settings_name_files_without_their_folders(run: Run) -> None:
    settings = json.loads(params_json(run))
    assert settings == exported_settings(run)
    assert settings["reference"]["path"] == "facs.h5ad" and settings["query"]["path"] == "droplet.h5ad"
    assert settings["prepare"]["gene_lengths"] == "lengths.txt"
    whole = run.params.model_dump(mode="json")
    differ = {name for name, value in settings.items() if value != whole[name]}
    assert differ == {"reference", "query", "prepare"}


def test_nothing_that_leaves_a_run_says_where_the_server_keeps_its_files(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    list(deliver(run, out))
    annotated(run, out / "annotated.h5ad")
    (out / "report").write_text(report_html(run))
    write_supplement(run, tmp_path / "everything.zip")
    with zipfile.ZipFile(tmp_path / "everything.zip") as archive:
        archive.extractall(out / "zip")
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"params.json", "report.html", "script.py", "model.pt"} <= {path.name for path in written}
    marks = [mark.encode() for mark in (PLACE, str(run.root), "/home/ada")]
    assert [path.relative_to(out) for path in written if any(mark in path.read_bytes() for mark in marks)] == []
    assert len(pd.read_csv(out / "predictions.csv")) == 30
