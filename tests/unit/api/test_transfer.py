"""Transfers from Python: AnnData or paths in, the labelled query out, and the caller's own things as they were."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import labeltransfer
from labeltransfer.api.result import Transfer, matched
from labeltransfer.cli.main import main
from labeltransfer.data.demo.simulate import LENGTHS, QUERY, REFERENCE
from labeltransfer.errors import InputError, SettingsError
from tests.support.senis import write_old_h5ad

KEY = "cell_ontology_class"
MARROW = {"tissue": "Marrow", "sex": "female"}


def settings(demo_pair: Path) -> dict[str, Any]:
    """The same settings for Python and, as :func:`arguments`, for the command line."""
    return {
        "labels_key": KEY,
        "preset": "quick",
        "seed": 3,
        "scvi_epochs": 3,
        "scanvi_epochs": 2,
        "n_top_genes": 300,
        "filter_reference": MARROW,
        "filter_query": MARROW,
        "length_normalize": "reference",
        "gene_lengths": demo_pair / LENGTHS,
    }


def arguments(demo_pair: Path) -> list[str]:
    words = []
    for name, value in settings(demo_pair).items():
        values = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else [str(value)]
        words += [f"--{name.replace('_', '-')}", *values]
    return words


@pytest.fixture(scope="module")
def pair(demo_pair: Path) -> tuple[ad.AnnData, ad.AnnData]:
    return labeltransfer.read(demo_pair / REFERENCE), labeltransfer.read(demo_pair / QUERY)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def before(pair: tuple[ad.AnnData, ad.AnnData]) -> list[ad.AnnData]:
    return [adata.copy() for adata in pair]


@pytest.fixture(scope="module")
def result(
    demo_pair: Path, pair: tuple[ad.AnnData, ad.AnnData], before: list[ad.AnnData], home: Path
) -> Iterator[Transfer]:
    assert before
    yield labeltransfer.transfer(*pair, home=home, progress=False, **settings(demo_pair))


def test_labels_are_those_of_the_command_line(result: Transfer, demo_pair: Path, lt_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    inputs = ["--reference", str(demo_pair / REFERENCE), "--query", str(demo_pair / QUERY), "--out", str(out)]
    code = "import sys; from labeltransfer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, "run", *inputs, *arguments(demo_pair)], check=True)
    written = pd.read_csv(out / "predictions.csv").drop(columns="run_id")
    own = result.labels.drop(columns="run_id")
    assert list(own.columns) == list(written.columns)
    for name in own:
        if pd.api.types.is_numeric_dtype(own[name]):
            np.testing.assert_allclose(own[name], written[name], rtol=1e-4, atol=1e-5, err_msg=str(name))
        else:
            assert own[name].astype(object).fillna("").tolist() == written[name].fillna("").tolist(), name
    cells = [pd.read_parquet(f) for f in (out / "cells.parquet", result.run.artefact("evaluate", "cells.parquet"))]
    pd.testing.assert_frame_equal(*cells)  # to the last bit


def test_the_query_has_all_its_cells_and_genes_and_what_was_found(
    result: Transfer, pair: tuple[ad.AnnData, ad.AnnData]
) -> None:
    query, own = result.query, pair[1]
    assert list(query.obs_names) == list(own.obs_names) and list(query.var_names) == list(own.var_names)
    chosen = ((own.obs["tissue"] == "Marrow") & (own.obs["sex"] == "female")).to_numpy()
    assert (query.obs["predicted_label"].notna() == chosen).all()
    assert query.obs["confidence"][chosen].between(0, 1).all()
    assert query.obs_names[chosen].tolist() == result.labels["cell_id"].tolist()
    assert query.obs["predicted_label"][chosen].tolist() == result.labels["predicted_label"].tolist()
    for key, width in (("X_scVI", 30), ("X_scANVI", 30), ("X_mde", 2)):
        assert query.obsm[key].shape == (len(own), width)
        assert (np.isfinite(query.obsm[key]).all(axis=1) == chosen).all()


def test_the_callers_objects_stay_as_they_were(
    result: Transfer, pair: tuple[ad.AnnData, ad.AnnData], before: list[ad.AnnData]
) -> None:
    assert result.query is not pair[1]
    for now, then in zip(pair, before, strict=True):
        pd.testing.assert_frame_equal(now.obs, then.obs)
        pd.testing.assert_frame_equal(now.var, then.var)
        assert (now.X != then.X).nnz == 0 and not now.obsm and set(now.uns) == set(then.uns)


def test_scores_alarm_and_report(result: Transfer, tmp_path: Path) -> None:
    assert result.scores is not None and 0 <= result.scores["accuracy"] <= 1
    assert result.alarm is None or "these labels" in result.alarm
    assert "<html" in result.report(tmp_path / "report.html").read_text()
    assert result.run.id in repr(result) and "query cells" in repr(result)
    with pytest.raises(AttributeError):
        result.run = None  # type: ignore[assignment]


def test_a_home_keeps_the_stages(
    result: Transfer, demo_pair: Path, pair: tuple[ad.AnnData, ad.AnnData], home: Path
) -> None:
    from labeltransfer.runs.records.timing import reused_stages

    again = labeltransfer.transfer(*pair, home=home, progress=False, **settings(demo_pair))
    assert again.run.id != result.run.id
    assert {"prepare", "integrate", "transfer", "evaluate"} <= set(reused_stages(again.run))
    pd.testing.assert_frame_equal(again.labels.drop(columns="run_id"), result.labels.drop(columns="run_id"))


def test_odd_tables_paths_and_a_temporary_home(
    demo_pair: Path, pair: tuple[ad.AnnData, ad.AnnData], capfd: pytest.CaptureFixture[str]
) -> None:
    """A reference with names and values that h5ad cannot hold, a query by its path without labels, no home."""
    reference = pair[0].copy()
    reference.obs = reference.obs.rename(columns={KEY: "cell/type"})
    reference.obs["mixed"] = pd.Series([1, "two", None] * len(reference), dtype=object)[: len(reference)].to_numpy()
    reference.obs.index.name = "tissue"  # the name of a column as well
    reference.X = reference.X.toarray()
    columns = list(reference.obs.columns)
    given = settings(demo_pair) | {"labels_key": "cell/type", "params": {"query": {"technology": "10x"}}}
    result = labeltransfer.transfer(reference, str(demo_pair / QUERY), **given)
    assert list(reference.obs.columns) == columns
    assert "Train scVI" in capfd.readouterr().err
    assert result.scores is None and result.run.params.query.technology == "10x"
    assert result.query.obs["predicted_label"].notna().sum() == len(result.labels) >= 300
    folder = result.run.root
    assert folder.is_dir()
    del result
    gc.collect()
    assert not folder.exists()


def test_a_misspelt_setting_is_refused_with_what_is_near() -> None:
    for name, near in (("scvi_epoch", "scvi_epochs"), ("max_epochs", "scvi_epochs or scanvi_epochs")):
        with pytest.raises(SettingsError, match=near):
            labeltransfer.transfer("r.h5ad", "q.h5ad", labels_key=KEY, **{name: 3})
    with pytest.raises(SettingsError, match="seed: -1 is not a whole number from 0"):
        labeltransfer.transfer("r.h5ad", "q.h5ad", labels_key=KEY, seed=-1)
    with pytest.raises(SettingsError, match="preset is 'slow'"):
        labeltransfer.transfer("r.h5ad", "q.h5ad", labels_key=KEY, preset="slow")


def test_what_cannot_be_an_input_is_said_in_words(demo_pair: Path, pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    with pytest.raises(InputError, match="The query is a DataFrame"):
        labeltransfer.transfer(pair[0], pair[1].obs, labels_key=KEY)
    with pytest.raises(InputError, match="no such file"):
        labeltransfer.transfer(demo_pair / REFERENCE, "nowhere.h5ad", labels_key=KEY)
    with pytest.raises(SettingsError, match="no_such_key"):
        labeltransfer.transfer(*pair, labels_key="no_such_key")


def test_cells_are_matched_by_name_in_order() -> None:
    wanted = pd.Index(["a", "b", "c", "d"])
    assert matched(wanted, pd.Series(["b", "d"])).tolist() == [1, 3]
    assert matched(pd.Index(["a", "a"]), pd.Series(["a", "a"])).tolist() == [0, 1]


def test_inspect_gives_findings_that_can_be_read(demo_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = labeltransfer.inspect(demo_pair / REFERENCE, labels_key=KEY)
    assert {finding.severity for finding in findings} <= {"error", "warning", "note"}
    assert main(["inspect", str(demo_pair / REFERENCE), "--labels-key", KEY]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert " ".join(repr(findings).split()) == printed


def test_read_refuses_what_reaches_beyond_itself(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "links.h5ad"
    ad.AnnData(sp.csr_matrix(np.ones((3, 2), np.float32))).write_h5ad(path)
    assert labeltransfer.read(path).shape == (3, 2)
    with h5py.File(path, "a") as file:
        file["uns/secret"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(InputError):
        labeltransfer.read(path)


def test_read_refuses_a_damaged_file_and_leaves_nothing_out(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "damaged.h5ad"
    counts = sp.csr_matrix(np.ones((3, 2), np.float32))
    ad.AnnData(counts, obsm={"X_pca": np.ones((3, 2))}).write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["obsm/X_pca"].attrs["encoding-version"] = "none that there is"
    with pytest.raises(InputError, match="damaged"):
        labeltransfer.read(path)


def test_read_takes_the_layout_of_before_anndata_07(tmp_path: Path) -> None:
    obs = pd.DataFrame({"label": pd.Categorical(["A", "B", "A"])})
    counts = sp.csr_matrix(np.arange(6, dtype=np.float32).reshape(3, 2))
    adata = labeltransfer.read(write_old_h5ad(tmp_path / "old.h5ad", obs, counts))
    assert adata.obs["label"].tolist() == ["A", "B", "A"]
    assert (counts != adata.X).nnz == 0


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, labeltransfer; labeltransfer.transfer; "
        "print(sorted({'torch', 'scvi', 'scanpy', 'streamlit', 'pandas', 'anndata'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_docstring_names_every_setting() -> None:
    from labeltransfer.api.transfer import OPTIONS

    text = labeltransfer.transfer.__doc__ or ""
    assert [name for name in (*OPTIONS, "preset", "params", "home", "progress") if name not in text] == []
