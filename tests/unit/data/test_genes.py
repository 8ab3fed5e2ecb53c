"""Genes: length normalisation by name, shared genes, and the choice of highly variable ones."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.data.genes.selection import choose_genes, shared_genes
from labeltransfer.data.prepare.counts import normalise_by_length
from labeltransfer.errors import InputError, SettingsError


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


def test_names_that_differ_in_case_only_point_to_the_species() -> None:
    with pytest.raises(InputError, match=r"upper and lower case.*species"):
        shared_genes(names(300), names(300, "GENE"))


def test_choice_is_the_median_rank_over_groups() -> None:
    """Compared with scanpy itself on the same counts."""
    import scanpy as sc

    counts, genes = some_counts(), names(400)
    groups = pd.Series(np.repeat(["a", "b"], 60), index=[f"c{i}" for i in range(120)])
    sentences: list[str] = []
    table = choose_genes(counts, genes, groups, n_top_genes=100, hvg_batch="technology", report=keep_in(sentences))
    adata = ad.AnnData(counts, obs=pd.DataFrame({"b": groups}), var=pd.DataFrame(index=genes))
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=100, batch_key="b")
    assert table["highly_variable"].sum() == 100
    assert (table["highly_variable"] == adata.var["highly_variable"]).all()
    assert list(table.columns) == ["highly_variable", "highly_variable_rank", "means", "variances", "variances_norm"]
    assert "within each technology (2)" in sentences[0]


def test_no_more_genes_than_asked_for_selects_nothing() -> None:
    counts = some_counts()
    sentences: list[str] = []
    table = choose_genes(
        counts, names(400), pd.Series(["a"] * 120), n_top_genes=400, hvg_batch="none", report=keep_in(sentences)
    )
    assert table["highly_variable"].all()
    assert table["highly_variable_rank"].isna().all()
    np.testing.assert_allclose(table["means"], counts.toarray().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["variances"], counts.toarray().var(axis=0, ddof=1), rtol=1e-4, atol=1e-8)
    assert "All 400 shared genes" in sentences[0]


def test_a_group_too_small_to_rank_in_is_named_with_the_ways_out() -> None:
    counts = some_counts()
    groups = pd.Series(["large"] * 119 + ["single"])
    with pytest.raises(SettingsError) as caught:
        choose_genes(counts, names(400), groups, n_top_genes=100, hvg_batch="batch", report=keep_in([]))
    message = str(caught.value)
    assert "batch 'single' (1 cell)" in message and "'large'" not in message
    assert "hvg_batch = none" in message and "all 400 genes" in message


def test_loess_failure_on_real_cells_names_the_technology(shared_data: Path) -> None:
    reference = ad.read_h5ad(shared_data / "pbmc_3prime_to_5prime_reference.h5ad")
    query = ad.read_h5ad(shared_data / "pbmc_3prime_to_5prime_query.h5ad")
    counts = sp.vstack([reference.X, query.X], format="csr")
    groups = pd.Series(["3'"] * reference.n_obs + ["5'"] * query.n_obs)
    with pytest.raises(SettingsError, match=r"technology '3'' \(770 cells\).*hvg_batch = none"):
        choose_genes(counts, reference.var_names, groups, n_top_genes=500, hvg_batch="technology", report=keep_in([]))
    everyone = pd.Series("all", index=groups.index)
    table = choose_genes(counts, reference.var_names, everyone, n_top_genes=500, hvg_batch="none", report=keep_in([]))
    assert table["highly_variable"].sum() == 500
