"""What leaves the app."""

import io
import json
import re
import zipfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.errors import RunError
from labeltransfer.results.export import predictions, safe_csv
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.scores.cells import cell_table
from labeltransfer.storage import sparse
from tests.support.builders import opinions_of

LABELS = ["B", "T/NK"]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A prepared table of 3 reference and 3 query cells over 5 genes."""
    counts = np.array(
        [[0, 3, 1, 0, 6], [1, 0, 0, 0, 9], [0, 0, 2, 2, 0], [5, 5, 0, 0, 0], [0, 1, 0, 1, 0], [2, 0, 0, 0, 2]]
    )
    obs = pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(6)],
            "side": pd.Categorical(["reference"] * 3 + ["query"] * 3),
            "technology": "10x",
            "batch": pd.Categorical(["10x"] * 6),
            "observed_label": pd.Categorical(["B", "T/NK", "B", "B", None, "T/NK"]),
            "training_label": pd.Categorical(["B", "T/NK", "B", "Unknown", "Unknown", "Unknown"]),
            "n_counts": counts.sum(axis=1).astype(float),
            "n_genes": (counts > 0).sum(axis=1),
            "obs.sex": pd.Categorical(["female"] * 6),
            "obs.batch": [f"run {i}" for i in range(6)],
            "obs.mouse/id": [f"m{i}" for i in range(6)],
        },
        index=[f"unique{i}" for i in range(6)],
    )
    var = pd.DataFrame({"highly_variable": [True, False, True, True, False]}, index=[f"Gene{i}" for i in range(5)])
    layers = {"counts": sp.csc_matrix(counts, dtype=np.float32)}
    obs.columns = [name.replace("/", ".") for name in obs.columns]
    ad.AnnData(obs=obs, var=var, layers=layers).write_h5ad(tmp_path / "prepared.h5ad")
    return tmp_path / "prepared.h5ad"


@pytest.fixture
def soft() -> pd.DataFrame:
    first = np.array([0.9, 0.2, 0.8, 0.7, 0.4, 0.1], dtype=np.float32)
    return pd.DataFrame({"B": first, "T/NK": 1 - first})


@pytest.fixture
def cells(prepared: Path, soft: pd.DataFrame) -> pd.DataFrame:
    obs = ad.read_h5ad(prepared).obs
    points = np.arange(12.0).reshape(6, 2)
    return cell_table(obs, opinions_of(soft), mde_scvi=points, mde_scanvi=-points)


def write(target: Path, prepared: Path, cells: pd.DataFrame, soft: pd.DataFrame) -> ad.AnnData:
    predictions.write_annotated(
        target,
        prepared=prepared,
        cells=cells,
        soft=soft,
        latent_scvi=np.ones((6, 4)),
        latent_scanvi=np.zeros((6, 4)),
        settings={"seed": 7},
        run_id="run-1",
    )
    return ad.read_h5ad(target)


def test_predictions_hold_a_row_per_query_cell_with_the_run(cells: pd.DataFrame) -> None:
    frame = predictions.predictions(cells, "run-1")
    assert list(frame.columns[:4]) == ["cell_id", "predicted_label", "confidence", "observed_label"]
    assert list(frame["cell_id"]) == ["cell3", "cell4", "cell5"]
    assert set(frame["run_id"]) == {"run-1"}
    assert len(predictions.predictions(cells, "run-1", side=None)) == 6


def test_csv_reads_back_as_it_was(cells: pd.DataFrame) -> None:
    back = pd.read_csv(io.StringIO(to_csv(predictions.predictions(cells, "run-1"))))
    assert list(back["predicted_label"]) == ["B", "T/NK", "T/NK"]
    assert back["observed_label"].isna().tolist() == [False, True, False]
    assert np.allclose(back["confidence"], [0.7, 0.6, 0.9])


@pytest.mark.parametrize("start", [*"=+-@;\t\r\n", *"\uff1d\uff0b\uff0d\uff20", " =", "\ufeff="])
def test_csv_text_that_a_spreadsheet_would_run_is_escaped(start: str) -> None:
    text = f"{start}cmd|' /C calc'!A0"
    frame = pd.DataFrame({text: [1], "label": pd.Categorical([text]), "cell": [text]})
    back = pd.read_csv(io.StringIO(to_csv(frame)), lineterminator="\n")
    assert back.columns[0] == f"'{text}"
    assert back.loc[0, "label"] == back.loc[0, "cell"] == f"'{text}"


@pytest.mark.parametrize("separator", [*";\t\r\n", "; "])
@pytest.mark.parametrize("start", ["=", "@", "\uff1d"])
def test_a_formula_behind_what_a_spreadsheet_may_split_at_is_escaped(separator: str, start: str) -> None:
    frame = pd.DataFrame({"cell": [1], f"B{separator}{start}1+1": [f"B{separator}{start}cmd"]})
    written = to_csv(frame)
    cells = [cell.strip(' "') for cell in re.split("[,;\t\r\n]", written)]
    assert not [cell for cell in cells if cell.startswith(start)], written
    assert written.count("'") == 2


def test_csv_leaves_numbers_and_plain_text_alone() -> None:
    frame = pd.DataFrame({"cell": ["CD4-positive", None], "score": [-0.5, 2.0]})
    assert to_csv(frame) == "cell,score\nCD4-positive,-0.5\n,2\n"


def test_csv_of_many_rows_has_one_header_and_every_row_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"cell": [f"c{i}" for i in range(10)], "label": pd.Categorical(["=B", "T"] * 5)})
    whole = to_csv(frame)
    monkeypatch.setattr(safe_csv, "BLOCK", 3)
    assert to_csv(frame) == whole
    assert whole.count("cell,label") == 1
    assert whole.splitlines()[9:] == ["c8,'=B", "c9,T"]
    assert to_csv(frame.head(0)) == "cell,label\n"


def test_annotated_file_holds_counts_expression_latents_maps_and_predictions(
    tmp_path: Path, prepared: Path, cells: pd.DataFrame, soft: pd.DataFrame
) -> None:
    adata = write(tmp_path / "out" / "annotated.h5ad", prepared, cells, soft)
    assert isinstance(adata.layers["counts"], sp.csr_matrix)
    assert adata.layers["counts"].toarray()[3].tolist() == [5, 5, 0, 0, 0]
    assert adata.X.toarray()[3] == pytest.approx(np.log1p([5000, 5000, 0, 0, 0]))
    assert list(adata.obs["C_scANVI"]) == ["B", "T/NK", "B", "B", "T/NK", "T/NK"]
    assert list(adata.obs["training_label"])[2:4] == ["B", "Unknown"]
    assert set(adata.obsm) == {"X_scVI", "X_scANVI", "X_mde_scVI", "X_mde_scANVI", "soft_predictions"}
    assert adata.obsm["X_mde_scANVI"][1].tolist() == [-2, -3]
    assert np.allclose(adata.obsm["soft_predictions"]["T|NK"], soft["T/NK"])
    assert adata.var["highly_variable"].sum() == 3
    assert json.loads(adata.uns["labeltransfer"]["settings"]) == {"seed": 7}
    assert adata.uns["labeltransfer"]["run_id"] == "run-1"


def test_annotated_counts_are_the_same_when_few_fit_into_memory(
    tmp_path: Path, prepared: Path, cells: pd.DataFrame, soft: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "whole.h5ad", prepared, cells, soft)
    monkeypatch.setattr(sparse, "MAX_VALUES", 3)
    parts = write(tmp_path / "parts.h5ad", prepared, cells, soft)
    for name, matrix in (("counts", parts.layers["counts"]), ("X", parts.X)):
        expected = whole.layers["counts"] if name == "counts" else whole.X
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(matrix, part), getattr(expected, part))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.h5ad", "prepared.h5ad", "whole.h5ad"]


def test_annotated_file_gives_input_columns_their_names_back_unless_taken(
    tmp_path: Path, prepared: Path, cells: pd.DataFrame, soft: pd.DataFrame
) -> None:
    obs = write(tmp_path / "annotated.h5ad", prepared, cells, soft).obs
    assert list(obs["sex"]) == ["female"] * 6
    assert list(obs["batch"]) == ["10x"] * 6
    assert list(obs["obs.batch"])[:2] == ["run 0", "run 1"]


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, prepared: Path, cells: pd.DataFrame, soft: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictions, "write_anndata", full)
    with pytest.raises(RunError, match="free some space"):
        write(tmp_path / "out" / "annotated.h5ad", prepared, cells, soft)
    assert list((tmp_path / "out").iterdir()) == []


def test_models_go_into_one_zip_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pt").write_text(name)
    target = predictions.zip_models(
        tmp_path / "exports" / "models.zip", {"scvi_model": tmp_path / "a", "scanvi_model": tmp_path / "b"}
    )
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["scvi_model/model.pt", "scanvi_model/model.pt"]
        assert archive.read("scanvi_model/model.pt") == b"b"
    assert [path.name for path in target.parent.iterdir()] == ["models.zip"]


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="choose another folder"):
        predictions.zip_models(tmp_path / "file" / "models.zip", {})
