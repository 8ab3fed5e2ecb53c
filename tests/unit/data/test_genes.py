"""Genes: length normalisation by name, shared genes, and the choice of highly variable ones."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.data.genes.ranking import by_residuals, by_trend
from labeltransfer.data.genes.selection import choose_genes, shared_genes, what_few_genes_mean
from labeltransfer.data.prepare.counts import normalise_by_length
from labeltransfer.errors import InputError


def keep_in(sentences: list[str]) -> Callable[[str], None]:
    return sentences.append


def some_counts(n_cells: int = 120, n_genes: int = 400, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(0.5, 1.2, n_genes) * rng.gamma(2, 0.5, (n_cells, n_genes))
    return sp.csr_matrix(rng.poisson(mean).astype(np.float32))


def names(n: int, prefix: str = "Gene") -> pd.Index:
    return pd.Index([f"{prefix}{i}" for i in range(n)])


def test_counts_are_scaled_by_the_median_length_and_rounded() -> None:
    counts = sp.csr_matrix(np.array([[10, 10, 10], [1, 0, 5]], np.float32))
    scaled = normalise_by_length(counts, np.array([1000.0, 2000.0, 8000.0]))
    assert scaled.toarray().tolist() == [[20, 10, 2], [2, 0, 1]]  # 2.5 rounds to even, as rint does
    assert counts.toarray().tolist() == [[10, 10, 10], [1, 0, 5]]  # the input is left alone


def test_counts_that_round_to_nothing_are_not_stored() -> None:
    scaled = normalise_by_length(sp.csr_matrix(np.array([[1, 9, 9]], np.float32)), np.array([9000.0, 1000.0, 1000.0]))
    assert scaled.toarray().tolist() == [[0, 9, 9]]
    assert scaled.nnz == 2


def test_length_normalisation_agrees_with_the_dense_formula_on_real_cells(shared_data: Path) -> None:
    kidney = ad.read_h5ad(shared_data / "tm_kidney_facs_215.h5ad")
    lengths = pd.read_csv(shared_data / "gene_len.txt", sep=" ", header=None, index_col=0)[1]
    genes = kidney.var_names.intersection(lengths.index)[:3000]
    counts = kidney[:20, genes].X.tocsr()
    expected = np.rint(counts.toarray().astype(float) / lengths[genes].to_numpy() * np.median(lengths[genes]))
    assert np.array_equal(normalise_by_length(counts, lengths[genes].to_numpy()).toarray(), expected)
    assert expected.sum() > 0


def test_shared_genes_keep_the_order_of_the_reference() -> None:
    reference = names(300)
    assert list(shared_genes(reference, reference[::-1][:250])) == [f"Gene{i}" for i in range(50, 300)]


def test_too_few_shared_genes_name_the_numbers_and_examples() -> None:
    with pytest.raises(InputError, match=r"share 0 genes.*reference has 300 \(Gene0.*query 400 \(ENSMUSG0.*Gene names"):
        shared_genes(names(300), names(400, "ENSMUSG"))


def test_a_panel_is_shared_down_to_thirty_genes() -> None:
    panel, transcriptome = names(30), names(20_000)
    assert list(shared_genes(panel, panel)) == list(shared_genes(transcriptome, panel)) == list(panel)
    with pytest.raises(InputError, match="share 29 genes, and at least 30 are needed"):
        shared_genes(panel[:29], transcriptome)


@pytest.mark.parametrize(("n_shared", "n_other", "hint"), [(40, 20_000, "Gene names"), (199, 2_000, "Gene names")])
def test_few_genes_of_many_are_a_trouble_of_names_and_no_panel(n_shared: int, n_other: int, hint: str) -> None:
    reference = names(n_shared).append(names(n_other, "ENSG"))
    query = names(n_shared).append(names(n_other, "Symbol"))
    with pytest.raises(InputError, match=f"share {n_shared} genes, too few of all that they have.*{hint}"):
        shared_genes(reference, query)
    assert len(shared_genes(names(200).append(names(n_other, "ENSG")), names(200).append(names(n_other, "S")))) == 200


def test_a_panel_half_of_which_differs_in_case_is_a_trouble_of_names() -> None:
    with pytest.raises(InputError, match=r"share 40 genes.*upper and lower case"):
        shared_genes(names(150), names(40).append(names(150, "GENE")[40:]))


def test_what_to_expect_is_said_of_a_panel_alone() -> None:
    assert "Only 158 genes" in what_few_genes_mean(158) and what_few_genes_mean(200) == ""


def test_names_that_differ_in_case_only_point_to_the_species() -> None:
    with pytest.raises(InputError, match=r"upper and lower case.*species"):
        shared_genes(names(300), names(300, "GENE"))


def test_choice_is_the_median_rank_over_groups() -> None:
    """Compared with scanpy itself on the same counts."""
    import scanpy as sc

    counts, genes = some_counts(), names(400)
    groups = pd.Series(np.repeat(["a", "b"], 60), index=[f"c{i}" for i in range(120)])
    sentences: list[str] = []
    table, ranking = choose_genes(
        counts, genes, groups, n_top_genes=100, hvg_batch="technology", report=keep_in(sentences)
    )
    adata = ad.AnnData(counts, obs=pd.DataFrame({"b": groups}), var=pd.DataFrame(index=genes))
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=100, batch_key="b")
    assert table["highly_variable"].sum() == 100
    assert (table["highly_variable"] == adata.var["highly_variable"]).all()
    assert list(table.columns) == ["highly_variable", "highly_variable_rank", "means", "variances", "variances_norm"]
    assert "within each technology (2)" in sentences[0] and len(sentences) == 1
    assert ranking == {"method": "seurat_v3", "span": 0.3, "within": "technology"}


def test_no_more_genes_than_asked_for_selects_nothing() -> None:
    counts = some_counts()
    sentences: list[str] = []
    table, ranking = choose_genes(
        counts, names(400), pd.Series(["a"] * 120), n_top_genes=400, hvg_batch="none", report=keep_in(sentences)
    )
    assert table["highly_variable"].all()
    assert table["highly_variable_rank"].isna().all()
    np.testing.assert_allclose(table["means"], counts.toarray().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["variances"], counts.toarray().var(axis=0, ddof=1), rtol=1e-4, atol=1e-8)
    assert "All 400 shared genes" in sentences[0]
    assert ranking is None


def test_where_no_trend_can_be_fitted_genes_are_ranked_another_way_and_it_is_said() -> None:
    counts = some_counts()
    groups = pd.Series(["large"] * 119 + ["single"])
    sentences: list[str] = []
    table, ranking = choose_genes(
        counts, names(400), groups, n_top_genes=100, hvg_batch="batch", report=keep_in(sentences)
    )
    assert table["highly_variable"].sum() == 100
    assert np.isfinite(table[["means", "variances", "variances_norm"]]).all(axis=None)
    assert ranking == {"method": "pearson_residuals", "span": None, "within": "none"}
    assert "batch 'single' (1 cell)" in sentences[0] and "'large'" not in sentences[0]
    assert "Pearson residuals" in sentences[0] and "ranked over all cells" in sentences[1]
    again, _ = choose_genes(counts, names(400), groups, n_top_genes=100, hvg_batch="batch", report=keep_in([]))
    pd.testing.assert_frame_equal(table, again, check_exact=True)


def test_genes_that_vary_between_types_rank_first_without_a_trend() -> None:
    """Two sides of 40 cells of two types, and 40 of 300 genes that only one type has."""
    rng = np.random.default_rng(0)
    mean = np.full((80, 300), 0.1)
    mean[::2, :20], mean[1::2, 20:40] = 4, 4
    counts = sp.csr_matrix(rng.poisson(mean).astype(np.float32))
    table = by_residuals(counts, names(300), pd.Series(np.repeat(["a", "b"], 40)), 100)
    assert table["highly_variable"].sum() == 100 and table["highly_variable"][:40].all()
    assert set(table["highly_variable_rank"].nsmallest(40).index) == set(names(40))


def test_a_failing_trend_on_real_cells_is_fitted_with_a_wider_span(shared_data: Path) -> None:
    import scanpy as sc

    reference = ad.read_h5ad(shared_data / "pbmc_3prime_to_5prime_reference.h5ad")
    query = ad.read_h5ad(shared_data / "pbmc_3prime_to_5prime_query.h5ad")
    counts = sp.vstack([reference.X, query.X], format="csr")
    groups = pd.Series(["3'"] * reference.n_obs + ["5'"] * query.n_obs)
    sentences: list[str] = []
    table, ranking = choose_genes(
        counts, reference.var_names, groups, n_top_genes=500, hvg_batch="technology", report=keep_in(sentences)
    )
    assert ranking is not None and ranking["method"] == "seurat_v3" and ranking["within"] == "technology"
    assert ranking["span"] > 0.3
    assert "technology '3'' (770 cells)" in sentences[0] and f"a span of {ranking['span']:g}" in sentences[0]
    adata = ad.AnnData(counts, obs=pd.DataFrame({"b": groups.to_numpy()}, index=groups.index.astype(str)))
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=500, batch_key="b", span=ranking["span"])
    assert (table["highly_variable"].to_numpy() == adata.var["highly_variable"].to_numpy()).all()


@pytest.mark.parametrize("n_varying", [0, 1, 3, 9])
def test_loess_is_never_given_so_few_points_that_it_ends_the_process(n_varying: int) -> None:
    counts = np.ones((6, 150), np.float32)
    counts[::2, :n_varying] = 3
    matrix, groups = sp.csr_matrix(counts), pd.Series(["a"] * 6)
    with pytest.raises(ValueError, match="fewer than 10 genes vary"):
        by_trend(matrix, names(150), groups, 100, span=1.0)
    table, _ = choose_genes(matrix, names(150), groups, n_top_genes=100, hvg_batch="none", report=keep_in([]))
    assert table["highly_variable"].sum() == 100 and table["highly_variable"][:n_varying].all()
