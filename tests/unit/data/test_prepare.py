"""Prepare: which cells, labels and counts go into a run, what is refused, and how it is read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.data.demo.simulate import demo_params
from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import (
    all_counts,
    expression,
    n_untrained,
    read_cells,
    read_genes,
    training_data,
)
from labeltransfer.data.prepare.without_counts import set_aside
from labeltransfer.errors import InputError, RunCancelled, SettingsError
from labeltransfer.params import RunParams, run_params
from labeltransfer.storage import sparse

N_GENES = 260
Edit = Callable[[ad.AnnData], ad.AnnData | None]


def an_input(path: Path, *, seed: int, prefix: str, edit: Edit | None = None, n_cells: int = 60) -> str:
    """A file with 60 cells of three types, 260 genes, two donors; ``edit`` breaks or bends it."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.8, 2.0, (n_cells, N_GENES))).astype(np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.resize(["B cell", "T cell", "NK cell"], n_cells)),
            "donor": pd.Categorical(np.resize(["d1", "d2"], n_cells)),
            "quality": rng.random(n_cells),
        },
        index=[f"{prefix}{i}" for i in range(n_cells)],
    )
    adata = ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"Gene{i}" for i in range(N_GENES)]))
    adata = (edit(adata) if edit else None) or adata
    adata.write_h5ad(path)
    return str(path)


def a_pair(folder: Path, *, reference: Edit | None = None, query: Edit | None = None, **settings: Any) -> RunParams:
    """Settings over two such files; keys with a dot reach inside, such as ``{"reference.batch_key": "donor"}``."""
    plain: dict[str, Any] = {
        "reference": {
            "path": an_input(folder / "r.h5ad", seed=1, prefix="r", edit=reference),
            "labels_key": "cell_type",
            "technology": "Smart-seq2",
        },
        "query": {"path": an_input(folder / "q.h5ad", seed=2, prefix="q", edit=query), "technology": "10x"},
        "prepare": {},
    }
    for key, value in settings.items():
        side, _, name = key.partition("__")
        plain[side][name] = value
    return run_params(plain)


def prepared(params: RunParams, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    prepare(params, folder, report=lambda sentence: None)
    path = folder / "prepared.h5ad"
    return read_cells(path), read_genes(path), json.loads((folder / "summary.json").read_text())


def stored_counts(folder: Path) -> np.ndarray:
    return ad.read_h5ad(folder / "prepared.h5ad").layers["counts"].toarray()


def steps(summary: dict[str, Any]) -> str:
    return "\n".join(summary["steps"])


def test_the_demo_goes_through_with_every_filter_doing_something(demo_pair: Path, tmp_path: Path) -> None:
    params = demo_params(demo_pair)
    cells, genes, summary = prepared(
        params.model_copy(update={"prepare": params.prepare.model_copy(update={"n_top_genes": 300})}), tmp_path
    )
    assert cells["side"].value_counts().to_dict() == {"query": 315, "reference": 300}
    assert summary["reference"]["n_cells_after_filters"] == 315
    assert summary["reference"]["n_unlabelled_left_out"] == 15
    assert summary["query"]["n_cells_in_file"] > summary["query"]["n_cells_after_filters"] == 315
    assert summary["reference"]["n_genes_without_length"] > 0
    assert set(cells["obs.tissue"]) == {"Marrow"} and set(cells["obs.sex"]) == {"female"}
    assert genes["highly_variable"].sum() == 300 and genes["gene_length"].notna().all()


def test_cells_and_counts_are_those_of_the_files(tmp_path: Path) -> None:
    params = a_pair(tmp_path, query__labels_key="cell_type")
    cells, genes, summary = prepared(params, tmp_path)
    files = [ad.read_h5ad(side.path) for side in (params.reference, params.query)]
    assert np.array_equal(stored_counts(tmp_path), np.vstack([f.X.toarray() for f in files]))
    assert list(cells.index) == [*files[0].obs_names, *files[1].obs_names] == list(cells["cell_id"])
    assert list(cells["observed_label"]) == [*files[0].obs["cell_type"], *files[1].obs["cell_type"]]
    assert set(cells.loc[cells["side"] == "query", "training_label"]) == {"Unknown"}
    reference = cells[cells["side"] == "reference"]
    assert (reference["training_label"].astype(str) == reference["observed_label"].astype(str)).all()
    np.testing.assert_array_equal(cells["n_counts"], stored_counts(tmp_path).sum(axis=1))
    np.testing.assert_array_equal(cells["n_genes"], (stored_counts(tmp_path) > 0).sum(axis=1))
    np.testing.assert_allclose(cells["obs.quality"], [*files[0].obs["quality"], *files[1].obs["quality"]])
    assert list(cells["batch"].cat.categories) == ["Smart-seq2", "10x"]
    assert summary["genes"]["n_shared"] == summary["genes"]["n_chosen"] == N_GENES == len(genes)
    assert "All 260 shared genes" in steps(summary)


def test_a_query_without_labels_has_none(tmp_path: Path) -> None:
    cells, _, summary = prepared(a_pair(tmp_path), tmp_path)
    assert cells.loc[cells["side"] == "query", "observed_label"].isna().all()
    assert summary["query"]["n_labelled"] == 0


def drop_labels(adata: ad.AnnData) -> None:
    labels = adata.obs["cell_type"].astype(object)
    labels.iloc[[0, 1]] = np.nan
    labels.iloc[2] = "Unknown"
    adata.obs["cell_type"] = pd.Categorical(labels)


@pytest.mark.parametrize(("keep", "n_query"), [(True, 60), (False, 57)])
def test_unlabelled_cells_leave_the_reference_and_if_wanted_the_query(tmp_path: Path, keep: bool, n_query: int) -> None:
    params = a_pair(
        tmp_path, reference=drop_labels, query=drop_labels, query__labels_key="cell_type", query__keep_unlabelled=keep
    )
    cells, _, summary = prepared(params, tmp_path)
    assert cells["side"].value_counts().to_dict() == {"reference": 57, "query": n_query}
    assert "Unknown" not in set(cells["observed_label"])
    assert "Left out of the reference: 3 cells without a label" in steps(summary)
    assert "Taken as unlabelled in the reference: 1 cell with label 'Unknown'" in steps(summary)


def test_unused_categories_do_not_become_labels(tmp_path: Path) -> None:
    params = a_pair(tmp_path, reference__filters={"cell_type": ["B cell", "T cell"]})
    cells, _, _ = prepared(params, tmp_path)
    assert list(cells["training_label"].cat.categories) == ["B cell", "T cell", "Unknown"]


def test_a_single_label_is_refused_with_the_filter_that_left_it(tmp_path: Path) -> None:
    params = a_pair(tmp_path, reference__filters={"cell_type": ["B cell"]})
    with pytest.raises(SettingsError, match=r"has 1 label in the reference after cell_type = B cell; scANVI needs at"):
        prepared(params, tmp_path)


def test_filters_that_leave_nothing_are_named(tmp_path: Path) -> None:
    def no_donor_1_t_cells(adata: ad.AnnData) -> ad.AnnData:
        return adata[~((adata.obs["donor"] == "d1") & (adata.obs["cell_type"] == "T cell"))].copy()

    params = a_pair(tmp_path, query=no_donor_1_t_cells, query__filters={"donor": ["d1"], "cell_type": ["T cell"]})
    with pytest.raises(SettingsError, match="No cell of the query is left after donor = d1, cell_type = T cell"):
        prepared(params, tmp_path)


@pytest.mark.parametrize("setting", ["labels_key", "batch_key"])
def test_a_missing_column_names_those_that_could_be_meant(tmp_path: Path, setting: str) -> None:
    params = a_pair(tmp_path, **{f"reference__{setting}": "celltype"})
    with pytest.raises(SettingsError, match=rf"{setting} 'celltype'.*reference.*\(cell_type, donor\)"):
        prepared(params, tmp_path)


def test_a_reference_without_labels_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no labels_key"):
        prepared(a_pair(tmp_path, reference__labels_key=None), tmp_path)


def add_half(adata: ad.AnnData) -> None:
    adata.X = adata.X * 1.25


def test_non_integer_counts_are_refused_unless_rounding_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"of the query's non-zero counts are no integers.*round them"):
        prepared(a_pair(tmp_path, query=add_half), tmp_path)
    _, _, summary = prepared(a_pair(tmp_path, query=add_half, query__non_integer="round"), tmp_path)
    counts = stored_counts(tmp_path)
    assert np.array_equal(counts, np.rint(counts))
    assert "they are rounded" in steps(summary)


def a_table(folder: Path, n_known: int = 250) -> str:
    path = folder / "lengths.txt"
    path.write_text("".join(f"Gene{i} {500 * (1 + i % 4)}\n" for i in reversed(range(n_known))))
    return str(path)


def test_lengths_are_matched_by_name_and_genes_without_one_left_out(tmp_path: Path) -> None:
    params = a_pair(
        tmp_path, reference=add_half, prepare__length_normalize="reference", prepare__gene_lengths=a_table(tmp_path)
    )
    cells, genes, summary = prepared(params, tmp_path)
    lengths = np.array([500.0 * (1 + i % 4) for i in range(250)])
    raw = ad.read_h5ad(params.reference.path).X.toarray().astype(float)
    expected = np.rint(raw[:, :250] / lengths * np.median(lengths))
    assert np.array_equal(stored_counts(tmp_path)[:60], expected)
    assert list(genes["gene_length"]) == list(lengths)
    np.testing.assert_allclose(cells["n_counts_raw"][:60], raw.sum(axis=1), rtol=1e-6)
    assert summary["reference"]["n_genes_without_length"] == 10
    assert "10 of 260 genes have no length" in steps(summary)
    assert "gene length rounds them" in steps(summary)


@pytest.mark.parametrize("non_integer", ["refuse", "round"])
def test_log_values_are_refused_whatever_would_round_them(tmp_path: Path, non_integer: str) -> None:
    def log(adata: ad.AnnData) -> None:
        adata.X = adata.X.log1p()

    params = a_pair(
        tmp_path,
        reference=log,
        reference__non_integer=non_integer,
        prepare__length_normalize="reference",
        prepare__gene_lengths=a_table(tmp_path),
    )
    with pytest.raises(InputError, match="look log-transformed"):
        prepared(params, tmp_path)


def test_a_table_of_other_genes_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "lengths.txt"
    table.write_text("ENSG1 100\nENSG2 200\n")
    params = a_pair(tmp_path, prepare__length_normalize="reference", prepare__gene_lengths=str(table))
    with pytest.raises(InputError, match="None of the 260 genes of the reference"):
        prepared(params, tmp_path)


@pytest.mark.parametrize(
    ("value", "said"), [(-1.0, r"negative values \(1 of"), (np.nan, r"NaN or infinite values \(1 of")]
)
def test_negative_and_missing_counts_are_refused(tmp_path: Path, value: float, said: str) -> None:
    def spoil(adata: ad.AnnData) -> None:
        adata.X.data[7] = value

    with pytest.raises(InputError, match=said):
        prepared(a_pair(tmp_path, query=spoil), tmp_path)


def test_counts_come_from_a_layer_when_asked(tmp_path: Path) -> None:
    def into_layer(adata: ad.AnnData) -> None:
        adata.layers["raw_counts"] = adata.X.copy()
        adata.X = adata.X.log1p()

    params = a_pair(tmp_path, reference=into_layer, reference__counts="layers/raw_counts")
    _, _, summary = prepared(params, tmp_path)
    expected = ad.read_h5ad(params.reference.path).layers["raw_counts"].toarray()
    assert np.array_equal(stored_counts(tmp_path)[:60], expected)
    assert summary["reference"]["counts"] == "layers/raw_counts"


def test_too_few_shared_genes_are_refused(tmp_path: Path) -> None:
    def ensembl(adata: ad.AnnData) -> None:
        adata.var["symbol"] = adata.var_names.to_numpy()
        adata.var_names = [f"ENSMUSG{i:011d}" for i in range(N_GENES)]

    with pytest.raises(InputError, match="share 0 genes"):
        prepared(a_pair(tmp_path, query=ensembl), tmp_path)
    _, genes, _ = prepared(a_pair(tmp_path, query=ensembl, query__gene_names="symbol"), tmp_path)
    assert list(genes.index) == [f"Gene{i}" for i in range(N_GENES)]


def test_of_genes_with_one_name_the_first_is_kept(tmp_path: Path) -> None:
    def repeat(adata: ad.AnnData) -> None:
        adata.var_names = ["Gene0", "Gene0", *adata.var_names[2:]]

    params = a_pair(tmp_path, query=repeat)
    _, genes, summary = prepared(params, tmp_path)
    assert len(genes) == N_GENES - 1 and genes.index.is_unique
    assert np.array_equal(stored_counts(tmp_path)[60:, 0], ad.read_h5ad(params.query.path).X.toarray()[:, 0])
    assert summary["query"]["n_repeated_genes"] == 1 and "1 gene with a repeated name (Gene0)" in steps(summary)


def test_cell_names_become_unique_and_cell_ids_stay(tmp_path: Path) -> None:
    def rename(adata: ad.AnnData) -> None:
        adata.obs_names = ["x", "x", "x-1", *[f"r{i}" for i in range(3, 60)]]

    cells, _, summary = prepared(a_pair(tmp_path, reference=rename, query=rename), tmp_path)
    assert cells.index.is_unique
    assert list(cells["cell_id"][:4]) == ["x", "x", "x-1", "r3"] == list(cells["cell_id"][60:64])
    assert cells.index[3] == "r3-reference" and cells.index[63] == "r3-query"
    assert "Cell names on both sides: 59" in steps(summary)
    assert "Repeated cell names in the query: 1" in steps(summary)


def test_cells_without_counts_in_shared_genes_are_left_out(tmp_path: Path) -> None:
    def empty(adata: ad.AnnData) -> None:
        counts = adata.X.toarray()
        counts[5] = 0
        adata.X = sp.csr_matrix(counts)

    cells, _, summary = prepared(a_pair(tmp_path, query=empty), tmp_path)
    assert "q5" not in cells.index and len(cells) == 119
    assert summary["query"]["n_empty_left_out"] == 1


def test_batches_join_technology_and_batch_column(tmp_path: Path) -> None:
    params = a_pair(tmp_path, reference__batch_key="donor", prepare__hvg_batch="batch")
    cells, _, summary = prepared(params, tmp_path)
    assert cells["batch"].value_counts().to_dict() == {"10x": 60, "Smart-seq2 / d1": 30, "Smart-seq2 / d2": 30}
    assert summary["reference"]["batches"] == {"Smart-seq2 / d1": 30, "Smart-seq2 / d2": 30}


def test_two_sides_of_one_technology_are_two_batches(tmp_path: Path) -> None:
    cells, _, summary = prepared(a_pair(tmp_path, reference__technology="10x"), tmp_path)
    assert set(cells["batch"]) == {"10x (reference)", "10x (query)"}
    assert "Both sides are 10x" in steps(summary)


def test_columns_of_any_kind_and_name_survive(tmp_path: Path) -> None:
    def odd(adata: ad.AnnData) -> None:
        adata.obs["flag"] = np.resize([True, False], adata.n_obs)
        adata.obs["cluster"] = pd.Categorical(np.resize([1, 2, 10], adata.n_obs))
        adata.obs["only here"] = pd.array(np.resize([1, None], adata.n_obs), dtype="Int64")

    cells, _, _ = prepared(a_pair(tmp_path, reference=odd), tmp_path)
    assert set(cells["obs.cluster"].dropna()) == {"1", "2", "10"}
    assert set(cells["obs.flag"].dropna()) == {"True", "False"}
    assert cells["obs.only here"].notna().sum() == 30
    assert cells.loc[cells["side"] == "query", ["obs.flag", "obs.cluster", "obs.only here"]].isna().all(axis=None)


def test_training_data_holds_the_chosen_genes_in_file_order(demo_pair: Path, tmp_path: Path) -> None:
    params = demo_params(demo_pair)
    params = params.model_copy(update={"prepare": params.prepare.model_copy(update={"n_top_genes": 150})})
    cells, genes, _ = prepared(params, tmp_path)
    adata = training_data(tmp_path / "prepared.h5ad")
    chosen = genes["highly_variable"].to_numpy()
    assert list(adata.var_names) == list(genes.index[chosen])
    assert list(adata.obs_names) == list(cells.index)
    assert sp.issparse(adata.layers["counts"]) and adata.layers["counts"].format == "csr" and adata.X is None
    assert np.array_equal(adata.layers["counts"].toarray(), stored_counts(tmp_path)[:, chosen])


def test_expression_is_log_normalised_and_reads_one_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, genes, _ = prepared(a_pair(tmp_path), tmp_path)
    counts = stored_counts(tmp_path)
    expected = np.log1p(counts[:, 17] / counts.sum(axis=1) * 1e4)
    n_read = []
    plain_get = h5py.Dataset.__getitem__

    def counting(dataset: h5py.Dataset, key: Any, *rest: Any) -> Any:
        values = plain_get(dataset, key, *rest)
        if dataset.name == "/layers/counts/data":
            n_read.append(len(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    found = expression(tmp_path / "prepared.h5ad", genes.index[17])
    assert n_read == [int((counts[:, 17] > 0).sum())]
    assert found.dtype == np.float32 and found.shape == (len(cells),)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_expression_of_a_gene_that_is_not_there_says_so(tmp_path: Path) -> None:
    prepared(a_pair(tmp_path), tmp_path)
    with pytest.raises(SettingsError, match="'Nope' is not among the 260 genes"):
        expression(tmp_path / "prepared.h5ad", "Nope")


@pytest.mark.parametrize(
    ("name", "n_cells", "n_genes"), [("pbmc_3prime_to_5prime", 1200, 1767), ("baron_h1_lib12_to_lib3", 1937, 2000)]
)
def test_real_pairs_go_through_with_defaults(
    shared_data: Path, tmp_path: Path, name: str, n_cells: int, n_genes: int
) -> None:
    side = {"labels_key": "cell_type"}
    params = run_params(
        {
            "reference": {"path": str(shared_data / f"{name}_reference.h5ad"), **side},
            "query": {"path": str(shared_data / f"{name}_query.h5ad"), **side},
        }
    )
    prepare(params, tmp_path, report=lambda sentence: None)
    assert training_data(tmp_path / "prepared.h5ad").shape == (n_cells, n_genes)


def spoilt_late(adata: ad.AnnData) -> None:
    """Halves in the last cells alone, an empty cell, genes in another order, counts by column."""
    counts = adata.X.toarray()[:, ::-1]
    counts[10] = 0
    counts[50:] *= 1.25
    adata.var_names = adata.var_names[::-1]
    adata.X = sp.csc_matrix(counts)


@pytest.mark.parametrize("side", ["reference", "query"])
def test_small_blocks_give_the_same_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    found = []
    for n_values in (8_000_000, 900):
        monkeypatch.setattr(sparse, "MAX_VALUES", n_values)
        folder = tmp_path / str(n_values)
        folder.mkdir()
        params = a_pair(
            folder,
            **{side: spoilt_late, f"{side}__non_integer": "round", "prepare__n_top_genes": 150},
            prepare__length_normalize="reference",
            prepare__gene_lengths=a_table(folder),
        )
        cells, genes, summary = prepared(params, folder)
        training = training_data(folder / "prepared.h5ad")
        found.append((cells, genes, summary, stored_counts(folder), training.layers["counts"].toarray()))
        assert {path.name for path in folder.iterdir()} >= {"prepared.h5ad", "summary.json"}
        assert not list(folder.glob("counts_by*")) and not list(folder.glob("by_row*")), "something was left behind"
    large, small = found
    pd.testing.assert_frame_equal(large[0], small[0], check_exact=True)
    pd.testing.assert_frame_equal(large[1], small[1], check_exact=True)
    assert large[2] == small[2]
    np.testing.assert_array_equal(large[3], small[3])
    np.testing.assert_array_equal(large[4], small[4])


def test_faults_are_counted_over_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(adata: ad.AnnData) -> None:
        adata.X.data[[7, 4000, -1]] = -2

    monkeypatch.setattr(sparse, "MAX_VALUES", 900)
    with pytest.raises(InputError, match=r"negative values \(3 of"):
        prepared(a_pair(tmp_path, query=spoil), tmp_path)


@pytest.fixture(scope="module")
def sampled(demo_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The demo, whose query is larger than what is trained on, read in small blocks; and its summary."""
    folder = tmp_path_factory.mktemp("sampled")
    params = demo_params(demo_pair)
    params = params.model_copy(
        update={"prepare": params.prepare.model_copy(update={"n_top_genes": 300, "max_query_cells": 110})}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "MAX_VALUES", 10_000)
        _, _, summary = prepared(params, folder)
    return folder, summary


def test_of_a_large_query_a_sample_is_trained_on_and_the_user_reads_it(sampled: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = sampled
    cells = read_cells(folder / "prepared.h5ad")
    assert cells["trained_on"].dtype == bool
    assert cells.groupby("side", observed=True)["trained_on"].agg(["size", "sum"]).to_numpy().tolist() == [
        [300, 300],
        [315, 110],
    ]
    assert "Training on 110 of 315 query cells" in steps(summary) and "all 315 are labelled" in steps(summary)
    assert (summary["reference"]["n_trained_on"], summary["query"]["n_trained_on"]) == (300, 110)
    assert n_untrained(folder / "prepared.h5ad") == 205
    kinds = cells.loc[cells["side"] == "query"].groupby("obs.true_state", observed=True)["trained_on"].sum()
    assert (kinds > 0).all(), f"kinds of cells were lost: {kinds[kinds == 0]}"


def test_training_data_holds_the_sample_and_the_other_cells_are_there_to_be_labelled(
    sampled: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = sampled
    cells, genes = read_cells(folder / "prepared.h5ad"), read_genes(folder / "prepared.h5ad")
    chosen, trained = genes["highly_variable"].to_numpy(), cells["trained_on"].to_numpy()
    counts = stored_counts(folder)[:, chosen]
    adata = training_data(folder / "prepared.h5ad")
    assert list(adata.obs_names) == list(cells.index[trained])
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts[trained])
    everyone, batches = all_counts(folder / "prepared.h5ad")
    np.testing.assert_array_equal(everyone.toarray(), counts)
    assert list(batches.index) == list(cells.index) and list(batches) == list(cells["batch"])


def test_genes_are_chosen_on_the_cells_trained_on(sampled: tuple[Path, dict[str, Any]]) -> None:
    import scanpy as sc

    folder, _ = sampled
    adata = ad.read_h5ad(folder / "prepared.h5ad")
    adata = adata[adata.obs["trained_on"]].copy()
    adata.X = adata.layers["counts"].tocsr()
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=300, batch_key="technology")
    genes = read_genes(folder / "prepared.h5ad")
    assert list(adata.var["highly_variable"]) == list(genes["highly_variable"])


def test_a_prepared_file_of_before_there_were_samples_is_trained_on_whole(tmp_path: Path) -> None:
    prepared(a_pair(tmp_path), tmp_path)
    with h5py.File(tmp_path / "prepared.h5ad", "a") as file:
        del file["obs/trained_on"]
        file["obs"].attrs["column-order"] = [c for c in file["obs"].attrs["column-order"] if c != "trained_on"]
    assert training_data(tmp_path / "prepared.h5ad").n_obs == 120
    assert n_untrained(tmp_path / "prepared.h5ad") == 0


def test_preparing_says_how_far_it_is_and_stops_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "MAX_VALUES", 900)
    shares: list[float] = []
    prepare(a_pair(tmp_path), tmp_path, report=lambda _: None, progress=shares.append)
    assert shares == sorted(shares) and len(shares) > 20 and 0 < shares[0] < 0.1 and 0.9 < shares[-1] <= 1

    def cancel(share: float) -> None:
        raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        prepare(a_pair(tmp_path), tmp_path, report=lambda _: None, progress=cancel)
    assert not (tmp_path / "counts_by_cell").exists()


def without_chosen(cells: list[int], n_kept: int = 160) -> Edit:
    """Takes all counts but those in the last genes, which hardly vary, from some cells."""

    def edit(adata: ad.AnnData) -> None:
        counts = adata.X.toarray()
        counts[:, n_kept:] = 1
        counts[cells, :n_kept] = 0
        adata.X = sp.csr_matrix(counts)

    return edit


def test_cells_without_a_count_in_the_chosen_genes_stay_and_are_not_trained_on(tmp_path: Path) -> None:
    params = a_pair(tmp_path, reference=without_chosen([3]), query=without_chosen([5, 7]), prepare__n_top_genes=100)
    cells, genes, summary = prepared(params, tmp_path)
    chosen = stored_counts(tmp_path)[:, genes["highly_variable"].to_numpy()]
    assert len(cells) == 120 and genes["highly_variable"].sum() == 100
    np.testing.assert_array_equal(cells["n_counts_chosen"], chosen.sum(axis=1))
    assert list(cells.index[cells["n_counts_chosen"] == 0]) == ["r3", "q5", "q7"]
    assert list(cells.index[~cells["trained_on"]]) == ["r3", "q5", "q7"]
    assert cells.loc["r3", "training_label"] == "Unknown" and cells.loc["r3", "observed_label"] == "B cell"
    assert (summary["reference"]["n_without_chosen"], summary["query"]["n_without_chosen"]) == (1, 2)
    assert (summary["reference"]["n_trained_on"], summary["query"]["n_trained_on"]) == (59, 58)
    assert "2 cells of the query (q5, q7)" in steps(summary) and "1 cell of the reference (r3)" in steps(summary)
    training = training_data(tmp_path / "prepared.h5ad")
    assert training.n_obs == 117 and training.layers["counts"].sum(axis=1).min() > 0
    everyone, _ = all_counts(tmp_path / "prepared.h5ad")
    assert everyone.shape == (120, 100)


def test_where_every_cell_has_such_a_count_all_are_trained_on(tmp_path: Path) -> None:
    cells, _, summary = prepared(a_pair(tmp_path, prepare__n_top_genes=150), tmp_path)
    assert cells["trained_on"].all() and (cells["n_counts_chosen"] > 0).all()
    assert summary["query"]["n_without_chosen"] == 0 and "Without a count" not in steps(summary)
    assert n_untrained(tmp_path / "prepared.h5ad") == 0


def test_a_label_that_is_left_without_counts_teaches_nothing(tmp_path: Path) -> None:
    t_cells, nk_cells = list(range(1, 60, 3)), list(range(2, 60, 3))
    params = a_pair(tmp_path, reference=without_chosen(t_cells), query=without_chosen([]), prepare__n_top_genes=100)
    prepared(params, tmp_path)
    labels = training_data(tmp_path / "prepared.h5ad").obs["training_label"]
    assert list(labels.cat.categories) == ["B cell", "NK cell", "Unknown"]
    params = a_pair(
        tmp_path, reference=without_chosen(t_cells + nk_cells), query=without_chosen([]), prepare__n_top_genes=100
    )
    with pytest.raises(SettingsError, match="has 1 label in the reference"):
        prepared(params, tmp_path)


def test_a_batch_of_such_cells_alone_counts_among_the_largest_of_its_side(tmp_path: Path) -> None:
    def third_donor(adata: ad.AnnData) -> None:
        without_chosen([0, 1])(adata)
        adata.obs["donor"] = pd.Categorical(["d3", "d3", *["d1"] * 20, *["d2"] * 38])

    params = a_pair(
        tmp_path,
        reference=without_chosen([]),
        query=third_donor,
        query__batch_key="donor",
        prepare__n_top_genes=100,
    )
    cells, _, _ = prepared(params, tmp_path)
    assert cells.loc[["q0", "q1"], "batch"].tolist() == ["10x / d2"] * 2
    assert list(cells["batch"].cat.categories) == ["Smart-seq2", "10x / d2", "10x / d1"]
    trained = training_data(tmp_path / "prepared.h5ad").obs["batch"]
    assert set(trained) == set(cells["batch"])


def some_cells() -> pd.DataFrame:
    """Cells whose genes are chosen: in the query one of batch a, of which one is sampled, and two of batch b."""
    return pd.DataFrame(
        {
            "side": ["reference"] * 2 + ["query"] * 5,
            "batch": pd.Categorical(["r"] * 2 + ["a", "a", "a", "b", "b"]),
            "training_label": pd.Categorical(["B", "T"] + ["Unknown"] * 5),
            "trained_on": [True, True, True, False, False, True, False],
            "n_counts_chosen": [3.0, 2, 0, 1, 1, 4, 4],
        },
        index=list("rsqtuvw"),
    )


def test_other_cells_of_a_batch_take_the_place_of_a_sample_without_counts(tmp_path: Path) -> None:
    obs, sentences = some_cells(), list[str]()
    tallies = set_aside(obs, a_pair(tmp_path).reference, n_chosen=9, report=sentences.append)
    assert obs["trained_on"].tolist() == [True, True, False, True, False, True, False]
    assert obs["batch"].tolist() == ["r", "r", "a", "a", "a", "b", "b"]
    assert tallies["query"] == {"n_without_chosen": 1} and len(sentences) == 1


def test_a_side_without_any_count_in_the_chosen_genes_is_refused(tmp_path: Path) -> None:
    obs = some_cells()
    obs.loc[obs["side"] == "query", "n_counts_chosen"] = 0
    with pytest.raises(SettingsError, match=r"No cell of the query has a count in the 9 chosen genes.*n_top_genes"):
        set_aside(obs, a_pair(tmp_path).reference, n_chosen=9, report=lambda _: None)


def panel(n_genes: int) -> Edit:
    return lambda adata: adata[:, :n_genes].copy()


def test_a_panel_goes_through_with_what_to_expect_and_fewer_than_thirty_genes_do_not(tmp_path: Path) -> None:
    _, genes, summary = prepared(a_pair(tmp_path, query=panel(30)), tmp_path)
    assert len(genes) == 30 and "Only 30 genes" in steps(summary)
    with pytest.raises(InputError, match="share 29 genes"):
        prepared(a_pair(tmp_path, query=panel(29)), tmp_path)


def test_a_panel_alone_is_a_reference_too(tmp_path: Path) -> None:
    alone = {"query": {"path": ""}}
    params = a_pair(tmp_path, reference=panel(30))
    _, genes, summary = prepared(run_params(params.model_dump() | alone), tmp_path)
    assert len(genes) == 30 and "Only 30 genes" in steps(summary)
    params = a_pair(tmp_path, reference=panel(29))
    with pytest.raises(InputError, match="has 29 genes that can be used"):
        prepared(run_params(params.model_dump() | alone), tmp_path)


def test_a_table_that_knows_few_genes_of_many_is_refused(tmp_path: Path) -> None:
    params = a_pair(
        tmp_path, prepare__length_normalize="reference", prepare__gene_lengths=a_table(tmp_path, n_known=25)
    )
    with pytest.raises(InputError, match=r"Only 25 of the 260 genes of the reference.*another table"):
        prepared(params, tmp_path)


def test_a_tiny_reference_is_prepared_with_another_ranking(tmp_path: Path) -> None:
    few = lambda adata: adata[:4].copy()  # noqa: E731
    params = a_pair(tmp_path, reference=few, prepare__n_top_genes=100)
    cells, genes, summary = prepared(params, tmp_path)
    assert (cells["side"] == "reference").sum() == 4 and genes["highly_variable"].sum() == 100
    assert summary["genes"]["ranking"]["span"] != 0.3
    assert "technology 'Smart-seq2' (4 cells)" in steps(summary)
