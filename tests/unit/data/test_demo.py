"""The demo pair: what it promises to hold, so that every step of the app has something to do."""

import threading
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from labeltransfer.data.demo.simulate import LABELS_KEY, demo_params, ensure_demo, simulate

FEMALE_MARROW = {"tissue": "Marrow", "sex": "female"}


@pytest.fixture(scope="module")
def pair(demo_pair: Path) -> tuple[ad.AnnData, ad.AnnData]:
    return ad.read_h5ad(demo_pair / "reference.h5ad"), ad.read_h5ad(demo_pair / "query.h5ad")


def female_marrow(adata: ad.AnnData) -> pd.Series:
    return (adata.obs["tissue"] == "Marrow") & (adata.obs["sex"] == "female")


def test_as_many_labelled_female_marrow_cells_as_asked_for(pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    assert [int((female_marrow(side) & side.obs[LABELS_KEY].notna()).sum()) for side in pair] == [300, 300]


def test_every_filter_has_something_to_leave_out(pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    for side in pair:
        assert {"tissue", "sex", "age", "mouse.id", LABELS_KEY, "cell_ontology_id", "true_state"} == set(side.obs)
        assert set(side.obs["tissue"]) == {"Marrow", "Spleen"}
        assert set(side.obs["sex"]) == {"female", "male"}
        assert side.obs.loc[female_marrow(side), LABELS_KEY].isna().any()
        assert side.obs["true_state"].notna().all()


def test_states_and_labels_differ_between_the_sides(pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    reference, query = pair
    states = [set(side.obs["true_state"]) for side in pair]
    labels = [set(side.obs[LABELS_KEY].dropna()) for side in pair]
    assert len(states[0] & states[1]) >= 15
    assert states[0] - states[1] and states[1] - states[0]
    assert len(labels[0] & labels[1]) >= 10
    # The query calls both kinds of T cell by one name that the reference does not have.
    t_cells = query.obs[query.obs["true_state"].isin(["CD4 T", "CD8 T"])]
    assert set(t_cells[LABELS_KEY].dropna()) == {"T cell"} and "T cell" not in labels[0]
    assert reference.obs.loc[reference.obs["true_state"].isin(["CD4 T", "CD8 T"]), LABELS_KEY].nunique() == 2


def test_technologies_differ_in_depth_genes_and_length_bias(
    pair: tuple[ad.AnnData, ad.AnnData], demo_pair: Path
) -> None:
    reference, query = pair
    depth = [np.median(np.asarray(side.X.sum(axis=1))) for side in pair]
    assert depth[0] > 5 * depth[1]
    assert len(reference.var_names.difference(query.var_names)) and len(query.var_names.difference(reference.var_names))
    lengths = pd.read_csv(demo_pair / "gene_len.txt", sep=" ", header=None, index_col=0)[1]
    assert 0.9 < reference.var_names.isin(lengths.index).mean() < 1
    shared = reference.var_names.intersection(query.var_names).intersection(lengths.index)
    bias = pd.DataFrame(
        {
            "ratio": np.asarray(reference[:, shared].X.mean(axis=0) / (query[:, shared].X.mean(axis=0) + 0.01)).ravel(),
            "length": lengths[shared],
        }
    )
    assert bias.corr(method="spearman").iloc[0, 1] > 0.4


def test_markers_are_those_of_the_cell_type(pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    for side in pair:
        for gene, states in {
            "Cd3e": ["CD4 T", "CD8 T"],
            "Ms4a1": ["naive B", "immature B"],
            "Ly6g": ["granulocyte"],
        }.items():
            counts = side[:, gene].X.toarray()[:, 0]
            inside = side.obs["true_state"].isin(states).to_numpy()
            assert counts[inside].mean() > 4 * counts[~inside].mean()
        assert side[side.obs["sex"] == "male", "Xist"].X.sum() == 0


def test_counts_are_raw_and_unique_in_name(pair: tuple[ad.AnnData, ad.AnnData]) -> None:
    for side in pair:
        assert (side.X.data == np.rint(side.X.data)).all() and side.X.data.min() >= 1
        assert side.obs_names.is_unique and side.var_names.is_unique


def test_same_seed_same_data_and_another_seed_other_data(tmp_path: Path) -> None:
    sums = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        _, query = simulate(tmp_path / name, n_reference=40, n_query=40, n_genes=500, seed=seed)
        adata = ad.read_h5ad(query)
        sums.append((adata.X.toarray(), list(adata.var_names)))
    assert np.array_equal(sums[0][0], sums[1][0]) and sums[0][1] == sums[1][1]
    assert sums[0][1] != sums[2][1]


def test_too_few_genes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 500"):
        simulate(tmp_path, n_genes=100)


def test_settings_point_at_the_files_and_need_no_network(demo_pair: Path) -> None:
    params = demo_params(demo_pair)
    assert params.prepare.gene_lengths is not None
    for path in (params.reference.path, params.query.path, params.prepare.gene_lengths):
        assert Path(path).is_file()
    assert params.reference.technology != params.query.technology


def test_two_first_users_at_once_simulate_the_demo_once(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def small(folder: Path) -> tuple[Path, Path]:
        calls.append(folder)
        return simulate(folder, n_reference=40, n_query=40, n_genes=500)

    monkeypatch.setattr("labeltransfer.data.demo.simulate.simulate", small)
    threads = [threading.Thread(target=ensure_demo) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    params = ensure_demo()
    assert len(calls) == 1
    made = {path.name for path in (lt_home / "demo").iterdir() if not path.name.startswith(".")}
    assert made == {
        "reference.h5ad",
        "query.h5ad",
        "gene_len.txt",
    }
    assert params == demo_params(lt_home / "demo")
