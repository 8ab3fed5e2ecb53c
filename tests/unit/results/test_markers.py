"""Marker genes between two groups of cells."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import false_discovery_control, mannwhitneyu

from labeltransfer.data.prepare import prepared
from labeltransfer.errors import SettingsError
from labeltransfer.results.figures.dot_plot import dot_chart, dot_table
from labeltransfer.results.tile.markers import FOLD_OFFSET, compare_groups, rank_sum_test, top_markers


def sparse(values: object) -> sp.csr_matrix:
    return sp.csr_matrix(np.asarray(values, dtype=np.float32))


def made(n_first: int, n_second: int, n_genes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts with many ties and zeros; each gene with a mean and a shift of its own."""
    rng = np.random.default_rng(seed)
    mean, shift = rng.uniform(0.02, 3, n_genes), rng.uniform(0.3, 3, n_genes)
    return rng.poisson(mean * shift, (n_first, n_genes)), rng.poisson(mean, (n_second, n_genes))


@pytest.mark.parametrize(("n_first", "n_second"), [(40, 60), (7, 90), (3, 3), (1, 5)])
def test_ranks_ties_and_p_values_are_scipys(n_first: int, n_second: int) -> None:
    first, second = made(n_first, n_second, 50, seed=n_first)
    auroc, p_value = rank_sum_test(sparse(first), sparse(second))
    spread = np.vstack([first, second]).std(axis=0) > 0
    expected = mannwhitneyu(first, second, method="asymptotic", use_continuity=True, axis=0)
    assert spread.sum() >= 20
    assert np.allclose(auroc, expected.statistic / (n_first * n_second))
    assert np.allclose(p_value[spread], expected.pvalue[spread])


def test_continuous_values_without_any_tie_are_ranked_too() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(1, 2, (20, 30)), rng.uniform(1.2, 2.2, (25, 30))
    auroc, p_value = rank_sum_test(sp.csr_matrix(first), sp.csr_matrix(second))
    expected = mannwhitneyu(first, second, method="asymptotic", axis=0)
    assert np.allclose(auroc, expected.statistic / 500)
    assert np.allclose(p_value, expected.pvalue)


def test_a_gene_that_nobody_has_or_everybody_alike_tells_nothing() -> None:
    first, second = sparse([[0, 2], [0, 2], [0, 2]]), sparse([[0, 2], [0, 2], [0, 2], [0, 2]])
    auroc, p_value = rank_sum_test(first, second)
    assert auroc.tolist() == [0.5, 0.5]
    assert p_value.tolist() == [1.0, 1.0]
    assert rank_sum_test(sparse(np.zeros((3, 4))), sparse(np.zeros((5, 4))))[0].tolist() == [0.5] * 4


def test_stored_zeros_are_zeros() -> None:
    first = sp.csr_matrix((np.array([0.0, 1.0, 0.0]), np.array([0, 0, 0]), np.array([0, 1, 2, 3])), shape=(3, 1))
    second = sparse([[0], [0], [1]])
    assert np.array_equal(rank_sum_test(first, second), rank_sum_test(sparse([[0], [1], [0]]), second))


def test_values_below_zero_are_refused_not_misranked() -> None:
    with pytest.raises(ValueError, match="below 0"):
        rank_sum_test(sparse([[-1.0], [1.0]]), sparse([[0.5], [2.0]]))


def test_planted_markers_come_first_on_either_side() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.4, (200, 300)).astype(float)
    counts[:80, 17] += 4
    counts[80:, 205] += 3
    genes = pd.Index([f"Gene{i}" for i in range(300)])
    table = compare_groups(sparse(np.log1p(counts)), genes, first=np.arange(80), second=np.arange(80, 200))
    assert set(table["gene"][:2]) == {"Gene17", "Gene205"}
    assert len(table) == 300
    row = table.set_index("gene").loc["Gene17"]
    assert row["auroc"] > 0.97
    assert row["p_adjusted"] < 1e-12
    change = (counts[:80, 17].mean() + FOLD_OFFSET) / (counts[80:, 17].mean() + FOLD_OFFSET)
    assert np.isclose(row["log2_fold_change"], np.log2(change), rtol=1e-4)
    assert np.isclose(row["share_second"], (counts[80:, 17] > 0).mean())
    assert np.isclose(row["mean_first"], np.log1p(counts[:80, 17]).mean(), rtol=1e-5)
    assert table.set_index("gene").loc["Gene205", "auroc"] < 0.1
    assert np.allclose(table["p_adjusted"], false_discovery_control(table["p_value"]))
    assert top_markers(table, 1) == ["Gene17", "Gene205"]


def test_noise_yields_no_significant_gene() -> None:
    counts = np.random.default_rng(2).poisson(0.5, (300, 400))
    genes = pd.Index([f"Gene{i}" for i in range(400)])
    table = compare_groups(sparse(counts), genes, first=np.arange(150), second=np.arange(150, 300))
    assert table["p_adjusted"].min() > 0.05


def test_too_few_cells_are_refused_with_the_way_out() -> None:
    genes = pd.Index(["A"])
    with pytest.raises(SettingsError, match="2 and 5 cells cannot be compared"):
        compare_groups(sparse(np.ones((7, 1))), genes, first=np.arange(2), second=np.arange(2, 7))


def test_ranking_agrees_with_scanpy() -> None:
    import scanpy

    first, second = made(60, 50, 40, seed=5)
    expression = sparse(np.log1p(np.vstack([first, second])))
    obs = pd.DataFrame({"group": pd.Categorical(["a"] * 60 + ["b"] * 50)}, index=[f"c{i}" for i in range(110)])
    adata = ad.AnnData(expression, obs=obs)
    scanpy.tl.rank_genes_groups(
        adata, "group", groups=["a"], reference="b", method="wilcoxon", tie_correct=True, use_raw=False
    )
    ours = compare_groups(expression, adata.var_names, first=np.arange(60), second=np.arange(60, 110)).set_index("gene")
    theirs = scanpy.get.rank_genes_groups_df(adata, "a").set_index("names").reindex(ours.index)
    # scanpy has no continuity correction, so its p values are a little smaller.
    assert np.corrcoef(theirs["scores"], ours["auroc"])[0, 1] > 0.99
    assert np.allclose(np.log10(theirs["pvals"]), np.log10(ours["p_value"]), atol=0.1, rtol=0.1)


def test_dots_say_what_each_group_has() -> None:
    expression = sparse([[0, 1, 2], [0, 3, 0], [4, 0, 0]])
    groups = {"these": np.array([0, 1]), "parent": np.array([2]), "none": np.array([], dtype=int)}
    table = dot_table(expression, pd.Index(["A", "B", "C"]), shown=["C", "A"], groups=groups)
    assert table.set_index(["gene", "group"])["share"].to_dict() == {
        ("C", "these"): 0.5,
        ("A", "these"): 0.0,
        ("C", "parent"): 0.0,
        ("A", "parent"): 1.0,
    }
    assert table["mean"].tolist() == [1.0, 0.0, 0.0, 4.0]
    assert dot_chart(table).to_dict()["encoding"]["x"]["sort"] == ["C", "A"]


def test_expression_of_some_cells_is_that_of_each_gene(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.7, (30, 12)).astype(np.float32)
    obs = pd.DataFrame({"n_counts": counts.sum(axis=1) + 5.0}, index=[f"c{i}" for i in range(30)])
    chosen = rng.random(12) < 0.5
    var = pd.DataFrame({"highly_variable": chosen}, index=[f"Gene{i}" for i in range(12)])
    ad.AnnData(obs=obs, var=var, layers={"counts": sp.csc_matrix(counts)}).write_h5ad(tmp_path / "p.h5ad")
    rows = np.array([1, 4, 5, 22, 29])
    found, genes = prepared.chosen_expression(tmp_path / "p.h5ad", rows)
    assert list(genes) == list(var.index[chosen])
    for place, gene in enumerate(genes):
        expected = prepared.expression(tmp_path / "p.h5ad", gene)[rows]
        assert np.allclose(found.toarray()[:, place], expected, rtol=1e-6)
