"""Explore, Compare and Export, as a visitor of a finished run uses them."""

import time
import zipfile
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest

from labeltransfer.params import RunParams, SideParams
from labeltransfer.results.figures import scatter
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.output.supplement import write_supplement
from labeltransfer.runs.records.edits import add_edit
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.storage import files
from tests.support.pages import N_QUERY, N_REFERENCE, finished_run, page, pick_control, said
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("no_caches")


@pytest.mark.parametrize("name", ["explore", "compare", "export"])
def test_a_run_that_only_prepared_says_so_and_links_to_train(name: str, lt_home: Path) -> None:
    sides = {"reference": SideParams(path="r.h5ad"), "query": SideParams(path="q.h5ad")}
    run = default_store().create(RunParams(**sides, last_stage="prepare"))
    run.write_status(Status(state="done", created=time.time()))
    at = page(name, run)
    assert "train on it first" in said(at)
    assert not at.dataframe


@pytest.mark.parametrize("name", ["explore", "compare", "export"])
def test_a_finished_run_opens_without_an_error(name: str, run: Run) -> None:
    assert not page(name, run).error


def test_explore_offers_labels_own_columns_that_differ_and_genes(run: Run) -> None:
    options = page("explore", run).selectbox[0].options
    assert {"Predicted label", "Observed label", "Confidence", "Technology", "Gene expression"} <= set(options)
    assert "sex (input column)" in options
    assert "tissue (input column)" not in options  # one value alone says nothing


def test_explore_colours_by_any_shared_gene(run: Run) -> None:
    at = page("explore", run)
    at.selectbox[0].set_value("Gene expression").run()
    assert at.selectbox[1].value == "Cd3e"
    assert list(at.selectbox[1].options) == ["Actb", "Cd3e", "Elane", "Ms4a1"]
    at.selectbox[1].set_value("Elane").run()
    assert not at.exception
    assert not at.error


def test_explore_without_counts_leaves_genes_out_and_says_so(lt_home: Path) -> None:
    at = page("explore", finished_run(counts=False))
    assert "Gene expression" not in at.selectbox[0].options
    assert "genes cannot be shown" in said(at)


def test_a_lasso_lists_the_cells_that_it_circles(run: Run) -> None:
    points = [{"customdata": row, "x": 0.0, "y": 0.0} for row in (3, 25)]
    at = page("explore", run, {f"explore-map-{run.id}-Side by side": {"selection": {"points": points}}})
    assert "2 of 50 shown cells" in said(at)
    assert set(at.dataframe[0].value["cell_id"]) == {"cell3", "cell25"}


def test_a_lasso_on_the_query_alone_lists_query_cells(run: Run) -> None:
    seeded = {
        "explore-view": "Query",
        f"explore-map-{run.id}-Query": {"selection": {"points": [{"customdata": [0]}]}},
    }
    at = page("explore", run, seeded)
    assert list(at.dataframe[0].value["cell_id"]) == [f"cell{N_REFERENCE}"]


def test_no_lasso_on_more_cells_than_a_browser_can_send_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "LASSO_LIMIT", 10)
    assert "the lasso works up to 10" in said(page("explore", run))


def test_compare_gives_scores_with_their_denominators(run: Run) -> None:
    shown = {metric.label: metric.value for metric in page("compare", run).metric}
    cells = pd.read_parquet(run.artefacts.cells)
    query = evaluate.metrics(cells)["query"]
    assert query["n_scored"] == 24
    assert shown[f"Accuracy: {query['n_correct']} of 24 cells"] == f"{query['accuracy']:.1%}"
    assert shown["Macro-F1: mean over 2 labels"] == f"{query['macro_f1']:.3f}"
    assert shown["Scored, of 30 query cells"] == "24"


def test_compare_names_labels_that_the_reference_lacks(run: Run) -> None:
    assert "plasma cell (3)" in said(page("compare", run))


def test_a_click_shows_the_cells_behind_a_tile(run: Run) -> None:
    clicked = {"selection": {"cell": [{"observed_label": "T cell", "predicted_label": "B cell"}]}}
    at = page("compare", run, {f"compare-matrix-{run.id}-query-observed": clicked})
    cells = pd.read_parquet(run.artefacts.cells)
    expected = cells[(cells["side"] == "query") & (cells["observed_label"] == "T cell")]
    assert f"{len(expected)} query cells observed as T cell, predicted as B cell" in said(at)
    assert set(at.dataframe[0].value["cell_id"]) == set(expected["cell_id"])
    assert f"Download {len(expected)} cells as CSV" in [button.label for button in at.get("download_button")]


def test_reference_cells_come_on_request_and_are_named_as_trained_on(run: Run) -> None:
    at = page("compare", run)
    assert "trained on these cells" not in said(at)
    pick_control(at, "Cells").set_value("reference").run()
    assert "trained on these cells" in said(at)
    assert "Scored, of 20 reference cells" in [metric.label for metric in at.metric]


def test_a_query_without_labels_shows_composition_and_confidence_and_no_score(lt_home: Path) -> None:
    at = page("compare", finished_run(labelled=False))
    assert "None of the 30 query cells has an observed label" in said(at)
    assert not at.metric
    assert at.dataframe[0].value["Cells"].sum() == 30


def test_export_filters_by_label_and_confidence(run: Run) -> None:
    at = page("export", run)
    assert "30 of 30 query cells" in said(at)
    at.slider[0].set_value(0.85).run()
    assert "0 of 30 query cells" in said(at)
    at.slider[0].set_value(0.5).run()
    at.multiselect[0].set_value(["B cell"]).run()
    assert "30 of 30 query cells" in said(at)
    assert set(at.dataframe[0].value["predicted_label"]) == {"B cell"}


def test_export_offers_labels_models_figures_and_settings(run: Run) -> None:
    labels = [button.label for button in page("export", run).get("download_button")]
    assert {
        "Download 30 predictions as CSV",
        "Download the models",
        "Map by predicted label",
        "Map by observed label",
        "Confusion matrix",
        "Download params.json",
    } <= set(labels)


def test_export_offers_an_annotated_file_that_was_written_before(run: Run) -> None:
    (run.folder / "exports").mkdir()
    (run.folder / "exports" / "annotated.h5ad").write_bytes(b"x" * 2000)
    at = page("export", run)
    assert "Download 2 kB" in [button.label for button in at.get("download_button")]
    assert "Write the file" not in [button.label for button in at.button]


def test_export_writes_the_annotated_file_in_a_process_of_its_own(run: Run) -> None:
    at = page("export", run)
    next(button for button in at.button if button.label == "Write the file").click().run()
    target = run.folder / "exports" / "annotated.h5ad"
    assert "Writing the file" in said(at)
    wait_for(target.exists)
    assert ad.read_h5ad(target).obs["C_scANVI"].value_counts()["B cell"] == 43
    assert "Download" in "".join(button.label for button in at.run().get("download_button"))


def test_export_offers_report_script_and_everything_as_one_zip(run: Run) -> None:
    sides = {"reference": {"n_cells": N_REFERENCE}, "query": {"n_cells": N_QUERY}}
    shown = {"technology": "10x", "counts": "X", "n_cells_in_file": 99, "n_labelled": 9, "n_genes_in_file": 4}
    files.write_json(run.artefact("prepare") / "summary.json", {side: n | shown for side, n in sides.items()})
    at = page("export", run)
    labels = [button.label for button in at.get("download_button")]
    assert {"Download the report", "Download the script"} <= set(labels)
    assert "supplement of a paper" in said(at)
    next(button for button in at.button if button.label == "Make the zip").click().run()
    assert "Leaving is safe" in said(at)
    target = run.folder / "exports" / "everything.zip"
    wait_for(target.exists)
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
        assert len(archive.read("predictions.csv").splitlines()) == N_QUERY + 1
        assert archive.read("report.html").startswith(b"<!doctype html>")
    assert {"predictions.csv", "report.html", "script.py", "params.json", "metrics.json", "trust.json"} <= names
    assert not any(name.startswith("/") for name in names)


def test_a_zip_that_cannot_be_made_says_why(run: Run) -> None:
    (run.artefact("evaluate") / "audit.parquet").write_text("damaged")
    at = page("export", run)
    next(button for button in at.button if button.label == "Make the zip").click().run()
    wait_for(lambda: "The file could not be written" in said(at.run()), pause=0.5)
    assert "Parquet" in said(at)
    assert not (run.folder / "exports" / "everything.zip").exists()


def test_a_zip_holds_what_was_made_before_it(run: Run) -> None:
    (run.folder / "exports").mkdir()
    (run.folder / "exports" / "annotated.h5ad").write_bytes(b"x" * 2000)
    (run.artefacts.scanvi_model / "model.pt").write_bytes(b"weights")
    add_edit(run, Edit("", "mine", "exclude", "", "query", "T cell", "B cell", rows=(21, 24, 27), who="me"))
    audit = pd.DataFrame({"observed_label": ["=B"], "kind": ["swap"], "partner_label": ["T"], "score": [0.5]})
    audit.to_parquet(run.artefact("evaluate") / "audit.parquet")
    write_supplement(run, run.folder / "exports" / "everything.zip")
    with zipfile.ZipFile(run.folder / "exports" / "everything.zip") as archive:
        assert {"annotated.h5ad", "scanvi_model/model.pt", "edits.json"} <= set(archive.namelist())
        report = archive.read("report.html").decode()
        assert '<td>mine</td><td>exclude</td><td class="r">3</td><td>me</td>' in report
        assert "<td>=B</td><td>swap</td>" in report


def test_export_without_counts_and_models_says_so(lt_home: Path) -> None:
    text = said(page("export", finished_run(counts=False)))
    assert "nothing to annotate" in text
    assert "no script can repeat it" in text
    assert "without its models" in text


def test_tiles_take_the_colour_of_their_verdict_and_stay_clickable(run: Run) -> None:
    clicked = {"selection": {"cell": [{"observed_label": "T cell", "predicted_label": "B cell"}]}}
    at = page("compare", run, {"compare-verdict": True, f"compare-matrix-{run.id}-query-observed-verdict": clicked})
    assert "query cells observed as T cell, predicted as B cell" in said(at)
    assert "sibling (both are near kinds of one term)" in said(at)


def test_a_term_fixed_by_hand_changes_the_verdicts_and_can_be_taken_back(run: Run) -> None:
    files.write_json(run.folder / "terms_by_hand.json", {"B cell": "CL:0000540"})  # a neuron
    at = page("compare", run)
    assert "unrelated (none of these)" in said(at) and "sibling" not in said(at)
    next(button for button in at.button if button.key == "verdict-undo").click().run()
    assert "sibling (both are near kinds of one term)" in said(at)


def test_explore_says_whether_labels_can_be_trusted(run: Run) -> None:
    at = page("explore", run)
    assert "Can I trust these labels?" in said(at)
    assert {"Methods that agree", "Distance percentile", "Consensus label"} <= set(at.selectbox[0].options)
    before = next(m for m in at.metric if m.label.startswith("Coverage"))
    assert before.value == "100.0%"
    at.slider(key=f"reject-confidence-{run.id}").set_value(0.85).run()
    after = next(m for m in at.metric if m.label.startswith("Coverage"))
    cells = pd.read_parquet(run.artefacts.cells)
    query = cells[cells["side"] == "query"]
    kept = (query["confidence"] >= 0.85).sum()
    assert after.label == f"Coverage: {kept:,} of {len(query):,} query cells"


def test_what_is_rejected_on_explore_leaves_export_as_unknown(run: Run) -> None:
    at = page("export", run, {f"reject-confidence-{run.id}": 0.85})
    assert "is exported as Unknown" in said(at)
    shown = at.dataframe[0].value
    assert (shown["predicted_label"] == "Unknown").any()
    assert shown.loc[shown["predicted_label"] == "Unknown", "rejected_label"].notna().all()


@pytest.mark.parametrize(
    ("level", "words"), [("alarm", "should not be trusted as they are"), ("doubt", "Check these labels")]
)
def test_a_run_that_should_not_be_trusted_says_so_first(run: Run, level: str, words: str) -> None:
    file = run.artefacts.trust
    trust = files.read_json(file)
    trust["alarm"] |= {"level": level, "reasons": ["The two sides hardly mix."]}
    files.write_json(file, trust)
    for name in ("explore", "compare"):
        shown = said(page(name, run))
        assert words in shown and "The two sides hardly mix." in shown


def test_a_run_that_is_older_than_the_checks_of_trust_opens_all_the_same(run: Run) -> None:
    run.artefacts.trust.unlink()
    file = run.artefacts.cells
    new = ["agreement", "distance_percentile", "consensus_label", "knn_label", "held_out"]
    pd.read_parquet(file).drop(columns=new).to_parquet(file)
    assert "older than the checks of trust" in said(page("explore", run))
    assert not page("compare", run).error and not page("export", run).error
