"""The input report: each trouble is named with its way out, and nothing is said about a trouble that is not there."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.data.intake import (
    Finding,
    compare_genes,
    filter_rows,
    gene_index,
    guess,
    inspect,
    is_unlabelled,
    read_summary,
)
from labeltransfer.errors import InputError, SettingsError

N_CELLS, N_GENES = 80, 300


def cells() -> ad.AnnData:
    """A clean data set: 80 cells of 2 types, counts in X."""
    counts = np.random.default_rng(0).poisson(1.0, (N_CELLS, N_GENES)).astype(np.float32)
    obs = pd.DataFrame({"cell_type": pd.Categorical(["B", "T"] * 40)}, index=[f"cell{i}" for i in range(N_CELLS)])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"Gene{i}" for i in range(N_GENES)]))


def report(data: ad.AnnData, folder: Path, **options: object) -> dict[str, Finding]:
    data.write_h5ad(folder / "cells.h5ad")
    return {finding.title: finding for finding in inspect(read_summary(folder / "cells.h5ad"), **options)}


def test_a_clean_file_gets_a_few_notes_only(tmp_path: Path) -> None:
    found = report(cells(), tmp_path)
    assert set(found) == {"80 cells, 300 genes", "Raw counts are in X", "2 labels in cell_type"}
    assert {finding.severity for finding in found.values()} == {"note"}


@pytest.mark.parametrize(
    ("change", "title", "severity"),
    [
        (np.log1p, "X looks log-transformed", "error"),
        (lambda x: x - 1, "X has negative values", "error"),
        (lambda x: np.where(x == 2, np.nan, x), "X has values that are no numbers", "error"),
        (lambda x: x * 0, "X holds only zeros", "error"),
        (lambda x: x * 20.5 + 1, "X is not whole counts", "warning"),
        (lambda x: x / x.sum(1, keepdims=True) * 1e4, "X is normalised by library size", "error"),
    ],
)
def test_values_that_are_no_raw_counts_are_reported(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], title: str, severity: str
) -> None:
    data = cells()
    data.X = change(data.X.toarray()).astype(np.float32)
    found = report(data, tmp_path)
    assert found[title].severity == severity
    assert found[title].way_out


@pytest.mark.parametrize("place", ["layers/counts", "raw"])
def test_raw_counts_are_found_where_they_are(tmp_path: Path, place: str) -> None:
    data = cells()
    if place == "raw":
        data.raw = data.copy()
        data = data[:, :200].copy()
    else:
        data.layers["counts"] = data.X.copy()
    data.X = np.log1p(data.X)
    assert f"Raw counts are in {place}" in report(data, tmp_path)
    chosen = read_summary(tmp_path / "cells.h5ad", counts="X")
    wrong = next(f for f in inspect(chosen) if f.severity == "error")
    assert place in wrong.way_out


def test_a_place_without_counts_is_refused(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(InputError, match="there are no counts in raw"):
        read_summary(tmp_path / "cells.h5ad", counts="raw")


@pytest.mark.filterwarnings("ignore:.*not unique")
def test_repeated_names_and_empty_cells_are_reported(tmp_path: Path) -> None:
    data = cells()
    counts = data.X.toarray()
    counts[3] = 0
    data.X = sp.csr_matrix(counts)
    data.X.data[: data.X.indptr[1]] = 0  # zeros may be stored as well
    data.obs_names = ["cell1", "cell1", *data.obs_names[2:]]
    data.var_names = ["Gene1", "Gene1", *data.var_names[2:]]
    found = report(data, tmp_path)
    assert "1 of 80 cells" in found["Duplicate cell names"].detail
    assert "keeps the first" in found["Duplicate gene names"].way_out
    assert "2 of 80" in found["Some cells are empty"].detail


def test_trouble_with_labels_is_reported(tmp_path: Path) -> None:
    data = cells()
    names = ["B"] * 40 + ["T"] * 30 + ["rare"] * 3 + ["Unknown"] * 4 + [None] * 3
    data.obs["cell_type"] = pd.Categorical(names, categories=["B", "T", "rare", "Unknown", "phantom"])
    found = report(data, tmp_path, labels_key="cell_type")
    assert "3 labels in cell_type" in found
    assert "7 of 80" in found["Cells without a label"].detail
    assert "4 cells" in found["A label named Unknown"].detail
    assert "phantom" in found["Unused categories"].detail
    assert "rare (3)" in found["A rare label"].detail
    one = report(data, tmp_path, rows=np.arange(80) < 40)
    assert one["cell_type has one label only"].severity == "error"
    assert "No cells are left" in report(data, tmp_path, rows=np.zeros(80, bool))
    assert "cell_type" in report(data, tmp_path, labels_key="typo")["No column 'typo'"].detail


@pytest.mark.filterwarnings("ignore:.*not unique")
def test_names_without_end_are_shown_by_their_beginning(tmp_path: Path) -> None:
    data = cells()
    long = "x" * 70_000
    data.obs["cell_type"] = pd.Categorical(
        np.where(np.arange(N_CELLS) < 3, long, "B"), categories=[long, "B", long * 2]
    )
    data.obs_names = [long, long, *data.obs_names[2:]]
    data.var_names = [long, long, *data.var_names[2:]]
    found = report(data, tmp_path)
    assert {"Duplicate gene names", "Duplicate cell names", "A rare label", "Unused categories"} <= set(found)
    assert all(len(finding.detail) < 1000 for finding in found.values())


def test_a_query_needs_no_labels(tmp_path: Path) -> None:
    data = cells()
    del data.obs["cell_type"]
    assert {f.severity for f in report(data, tmp_path, side="query").values()} == {"note"}
    assert report(data, tmp_path)["No column with cell types"].severity == "error"


def test_columns_are_recognised_by_name(tmp_path: Path) -> None:
    data = cells()
    for column, values in {"mouse.sex": ["F", "M"], "organ": ["Lung", "Skin"], "mouse.id": ["1", "2"]}.items():
        data.obs[column] = pd.Categorical(values * 40)
    data.obs["method"] = "facs"
    data.write_h5ad(tmp_path / "cells.h5ad")
    found = guess(read_summary(tmp_path / "cells.h5ad"))
    assert (found.labels_key, found.tissue, found.sex, found.batch) == (
        "cell_type",
        "organ",
        "mouse.sex",
        ("mouse.id",),
    )
    assert found.technology == "facs"


def test_full_length_data_is_distinguished_from_umis(shared_data: Path) -> None:
    assert guess(read_summary(shared_data / "tm_kidney_facs_215.h5ad")).full_length is True
    assert guess(read_summary(shared_data / "baron_h1_lib12_to_lib3_query.h5ad")).full_length is False


def test_filters_keep_cells_that_agree_in_all_columns() -> None:
    obs = pd.DataFrame({"tissue": pd.Categorical(["Lung", "Skin", None, "Lung"]), "age": [3, 3, 3, 18]})
    assert filter_rows(obs, {"tissue": ["Lung", "Skin"], "age": ["3"]}).tolist() == [True, True, False, False]
    assert filter_rows(obs, {}).all()
    with pytest.raises(SettingsError, match="tissue, age"):
        filter_rows(obs, {"organ": ["Lung"]})
    with pytest.raises(SettingsError, match="Lung, Skin"):
        filter_rows(obs, {"tissue": ["Brain"]})


def test_filters_take_numbers_as_people_write_them() -> None:
    obs = pd.DataFrame({"age": [3.0, 18.0, np.nan, 2.5], "n_mice": [1, 2, 10, 2], "is_male": [True, False, True, True]})
    assert filter_rows(obs, {"age": ["3"]}).tolist() == [True, False, False, False]
    assert filter_rows(obs, {"age": ["3.0", "2.5"]}).tolist() == [True, False, False, True]
    assert filter_rows(obs, {"n_mice": ["2"], "is_male": ["True"]}).tolist() == [False, False, False, True]
    with pytest.raises(SettingsError, match=r"Its values are: 2\.5, 3, 18\."):
        filter_rows(obs, {"age": ["30"]})


def test_only_obvious_spellings_are_unlabelled() -> None:
    labels = pd.Series(["B", None, "", "nan", "Unknown", " unassigned ", "unknown T cell", "NA", np.nan])
    assert is_unlabelled(labels).tolist() == [False, True, True, True, True, True, False, True, True]


def test_ensembl_ids_against_symbols_are_reported_with_the_column_that_maps_them(tmp_path: Path) -> None:
    symbols, ids = cells(), cells()
    ids.var["symbol"] = ids.var_names
    ids.var_names = [f"ENSG{i:011d}.{i % 9}" for i in range(N_GENES)]
    symbols.write_h5ad(tmp_path / "a.h5ad")
    ids.write_h5ad(tmp_path / "b.h5ad")
    reference, query = read_summary(tmp_path / "a.h5ad"), read_summary(tmp_path / "b.h5ad")
    (finding,) = compare_genes(reference, query)
    assert finding.severity == "error"
    assert "var column 'symbol' of the query: 300 are then shared" in finding.way_out
    (mapped,) = compare_genes(reference, query, query_names="symbol")
    assert (mapped.severity, mapped.title) == ("note", "300 genes are shared")
    assert gene_index(query, None)[5] == "ENSG00000000005"
    with pytest.raises(SettingsError, match="There are: symbol"):
        gene_index(query, "typo")


@pytest.mark.parametrize(
    ("n_shared", "n_other", "severity", "said"),
    [
        (158, 0, "warning", "158 genes are shared"),
        (158, 100, "warning", "158 genes are shared"),
        (40, 2000, "error", "Only 40 genes are shared"),
        (29, 0, "error", "Only 29 genes are shared"),
        (250, 20, "note", "250 genes are shared"),
    ],
)
def test_a_panel_is_warned_of_and_few_genes_of_many_are_an_error(
    tmp_path: Path, n_shared: int, n_other: int, severity: str, said: str
) -> None:
    summaries = []
    for name in ("reference", "query"):
        genes = [f"Gene{i}" for i in range(n_shared)] + [f"{name}{i}" for i in range(n_other)]
        counts = sp.csr_matrix(np.ones((4, len(genes)), np.float32))
        ad.AnnData(counts, var=pd.DataFrame(index=genes)).write_h5ad(tmp_path / f"{name}.h5ad")
        summaries.append(read_summary(tmp_path / f"{name}.h5ad"))
    (finding,) = compare_genes(*summaries)
    assert (finding.severity, finding.title) == (severity, said)
    assert ("Broad types" in finding.detail) == (severity == "warning")
