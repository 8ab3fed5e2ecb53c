"""A tile of the confusion matrix opened: numbers, genes, other classifiers, edits and the way back."""

import zipfile
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from labeltransfer.runs.output.deliver import annotated
from labeltransfer.runs.output.supplement import write_supplement
from labeltransfer.runs.records.edits import edits_file, read_edits
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED_STAYS, find_run
from pages.compare_parts import tile_readers
from tests.support.pages import finished_run, page, pick_control, said

NEW_COLUMNS = [
    "raw_confidence",
    "held_out",
    *(f"{m}_{what}" for m in ("knn", "forest", "regression", "consensus") for what in ("label", "confidence")),
    "agreement",
    "distance_percentile",
]


pytestmark = pytest.mark.usefixtures("no_caches")


def opened(run: Run, observed: str = "T cell", predicted: str = "B cell") -> AppTest:
    tile = {"observed_label": observed, "predicted_label": predicted}
    return page("compare", run, {f"compare-matrix-{run.id}-query-observed": {"selection": {"cell": [tile]}}})


def columns_of(at: AppTest) -> list[set[str]]:
    return [set(frame.value.columns) for frame in at.dataframe]


def frame_with(at: AppTest, *columns: str) -> pd.DataFrame:
    return next(frame.value for frame in at.dataframe if set(columns) <= set(frame.value.columns))


def behind(run: Run) -> pd.DataFrame:
    """Query cells observed as T cell, all of them predicted as B cell."""
    cells = pd.read_parquet(run.artefacts.cells)
    return cells[(cells["side"] == "query") & (cells["observed_label"] == "T cell")]


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return at.run()


def without_new_columns(run: Run) -> None:
    """Make a run as it was before opinions were asked."""
    path = run.artefacts.cells
    cells = pd.read_parquet(path)
    cells.drop(columns=[name for name in NEW_COLUMNS if name in cells]).to_parquet(path)
    run.artefacts.trust.unlink()


def test_a_tile_is_held_against_both_parents(run: Run) -> None:
    at = opened(run)
    assert not at.error
    numbers = frame_with(at, "group", "n_cells")
    # Too few query cells have both labels equal, so the reference's are taken.
    assert numbers["group"].tolist() == ["these cells", "T cell, reference", "B cell, reference"]
    cells = pd.read_parquet(run.artefacts.cells)
    reference = cells[cells["side"] == "reference"]
    parents = [sum(reference["observed_label"] == label) for label in ("T cell", "B cell")]
    assert numbers["n_cells"].tolist() == [len(behind(run)), *parents]
    assert {"distance_percentile", "agreement", "confidence", "n_counts"} <= set(numbers)
    assert numbers["n_counts"][0] == behind(run)["n_counts"].median()


def test_query_parents_can_be_asked_for(run: Run) -> None:
    at = opened(run)
    pick_control(at, "Compared with").set_value("same").run()
    assert not at.exception
    groups = frame_with(at, "group", "n_cells")["group"].tolist()
    assert groups[2] == "B cell, query"
    assert "T cell" in groups[1] and "query" in groups[1]
    assert "too few to compare" in said(at)  # no other query cell was observed as T cell


def test_genes_are_listed_with_effect_sizes_and_what_was_compared(run: Run) -> None:
    at = opened(run)
    genes = [frame.value for frame in at.dataframe if "auroc" in frame.value]
    assert len(genes) == 2
    assert all(set(table["gene"]) == {"Actb", "Cd3e", "Elane", "Ms4a1"} for table in genes)
    n = len(behind(run))
    assert f"Compared are {n} of these {n}" in said(at)
    assert "over the 4 chosen genes" in said(at)
    assert len(at.get("vega_lite_chart")) >= 2 or len(at.get("arrow_vega_lite_chart")) >= 2


def test_other_classifiers_have_their_say(run: Run) -> None:
    table = frame_with(opened(run), "label", "scANVI")
    assert table.set_index("label")["kNN on the latent"].to_dict() == {"B cell": len(behind(run))}


def test_an_older_run_opens_and_says_what_it_lacks(run: Run) -> None:
    without_new_columns(run)
    at = opened(run)
    assert not at.error
    assert "kNN on the latent" in said(at).partition("Without a label of their own in this run: ")[2]
    numbers = frame_with(at, "group", "n_cells")
    assert "agreement" not in numbers
    assert "older than the checks of trust" in said(at)


def test_a_run_without_counts_opens_and_says_that_genes_are_gone(lt_home: Path) -> None:
    at = opened(finished_run(counts=False))
    assert not at.error
    assert "genes cannot be compared" in said(at)


@pytest.mark.parametrize("label", ["B cell", "T cell"])
def test_the_diagonal_is_held_against_the_rest(run: Run, label: str) -> None:
    at = opened(run, label, label)
    assert not at.exception and not at.error
    if label == "T cell":  # nothing there
        assert "There is no cell here" in said(at)
        return
    groups = frame_with(at, "group", "n_cells")["group"].tolist()
    assert groups == ["these cells", f"only observed or only predicted as {label}", "other query cells"]
    assert "Compared with" not in [control.label for control in at.get("button_group")]


def test_a_label_that_the_reference_lacks_has_an_empty_parent_and_says_so(run: Run) -> None:
    at = opened(run, "plasma cell", "B cell")
    assert not at.exception and not at.error
    assert frame_with(at, "group", "n_cells")["n_cells"][1] == 0
    assert "3 and 0 cells: too few to compare" in said(at)


def test_reference_tiles_are_held_against_the_reference(run: Run) -> None:
    at = page("compare", run)
    pick_control(at, "Cells").set_value("reference").run()
    tile = {"observed_label": "T cell", "predicted_label": "T cell"}
    at.session_state[f"compare-matrix-{run.id}-reference-observed"] = {"selection": {"cell": [tile]}}
    at.run()
    assert not at.exception and not at.error
    assert "other reference cells" in frame_with(at, "group", "n_cells")["group"].tolist()


def test_an_edit_is_kept_shown_exported_and_undone(run: Run) -> None:
    before = run.artefacts.cells.read_bytes()
    at = opened(run)
    pick_control(at, f"These {len(behind(run))} cells").set_value("relabel").run()
    at.selectbox[0].set_value("T cell").run()
    next(field for field in at.text_input if field.label == "Name of the edit").set_value("my own look").run()
    press(at, "Keep this edit")
    assert not at.exception and not at.error
    (kept,) = read_edits(run)
    assert (kept.name, kept.action, kept.label, kept.who) == ("my own look", "relabel", "T cell", "")
    cells = pd.read_parquet(run.artefacts.cells)
    assert cells["cell_id"].iloc[list(kept.rows)].tolist() == behind(run)["cell_id"].tolist()
    assert f"{len(kept.rows)} query cells called T cell" in said(at)
    assert set(frame_with(at, "cell_id", "final_label")["final_label"]) == {"T cell"}

    export = page("export", run)
    table = frame_with(export, "cell_id", "final_label").set_index("cell_id")
    assert set(table.loc[behind(run)["cell_id"], "final_label"]) == {"T cell"}
    assert set(table.loc[behind(run)["cell_id"], "predicted_label"]) == {"B cell"}
    assert "1 edit decides about" in said(export)

    at = press(opened(run), "Undo")
    assert read_edits(run) == []
    assert not any("final_label" in columns for columns in columns_of(at))
    assert not any("final_label" in columns for columns in columns_of(page("export", run)))
    assert run.artefacts.cells.read_bytes() == before


def test_cells_can_be_excluded_and_accepted_and_the_later_edit_decides(run: Run) -> None:
    at = press(opened(run), "Keep this edit")
    n = len(behind(run))
    pick_control(at, f"These {n} cells").set_value("exclude").run()
    at = press(at, "Keep this edit")
    assert [(e.action, e.label) for e in read_edits(run)] == [("accept", "B cell"), ("exclude", "")]
    assert f"{n} of them decided again by a later edit" in said(at)
    assert frame_with(at, "cell_id", "final_label")["final_label"].isna().all()


def test_an_annotated_file_from_before_an_edit_says_so(run: Run) -> None:
    (run.folder / "exports").mkdir()
    (run.folder / "exports" / "annotated.h5ad").write_bytes(b"x" * 2000)
    press(opened(run), "Keep this edit")
    at = page("export", run)
    assert "before the last change of edits" in said(at)
    assert "Make it again" in [button.label for button in at.button]


def test_a_damaged_file_of_edits_is_said_on_the_page(run: Run) -> None:
    edits_file(run).write_text("[{")
    at = opened(run)
    assert any("edits.json cannot be read" in str(error.value) for error in at.error)


def test_the_demo_opens_tiles_and_refuses_edits(lt_home: Path) -> None:
    demo = find_run("demo")
    cells = pd.read_parquet(demo.artefacts.cells)
    query = cells[cells["side"] == "query"].astype({"observed_label": str, "predicted_label": str})
    differs = query["observed_label"] != query["predicted_label"]
    # Of labels that some cells have rightly: the others have no cells to compare with.
    right = query.loc[~differs, "observed_label"].unique()
    query = query[differs & query["observed_label"].isin(right) & query["predicted_label"].isin(right)]
    observed, predicted = query[["observed_label", "predicted_label"]].value_counts().index[0]
    at = opened(demo, observed, predicted)
    assert not at.error
    assert SHIPPED_STAYS in said(at)
    assert "Keep this edit" not in [button.label for button in at.button]
    assert [frame for frame in at.dataframe if "auroc" in frame.value]


def test_counts_are_read_before_the_first_click(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page("compare", run)

    def never(*_: object) -> None:
        raise AssertionError("counts were read again")

    monkeypatch.setattr(tile_readers.prepared, "chosen_expression", never)
    at = opened(run)
    assert [frame for frame in at.dataframe if "auroc" in frame.value]


def test_the_annotated_file_has_the_outcome_of_edits(run: Run, tmp_path: Path) -> None:
    press(opened(run), "Keep this edit")
    annotated(run, tmp_path / "a.h5ad")
    obs = ad.read_h5ad(tmp_path / "a.h5ad").obs
    assert obs["final_label"].astype(str).tolist() == obs["predicted_label"].astype(str).tolist()
    assert (obs["edit_action"] == "accept").sum() == len(behind(run))
    assert set(obs["edit"].dropna()) == {"T cell → B cell: accepted"}


def test_the_zip_has_the_outcome_of_edits(run: Run, tmp_path: Path) -> None:
    press(opened(run), "Keep this edit")
    write_supplement(run, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        table = pd.read_csv(archive.open("predictions.csv"))
        assert "edits.json" in archive.namelist()
    assert (table["edit_action"] == "accept").sum() == len(behind(run))
    assert table["final_label"].tolist() == table["predicted_label"].tolist()
