"""Mapping a query onto a published reference: genes, weights, results, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from labeltransfer.cli.main import main
from labeltransfer.data.demo.simulate import LENGTHS, QUERY
from labeltransfer.data.intake import gene_finding
from labeltransfer.data.prepare.onto_reference import prepare_query
from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.errors import InputError
from labeltransfer.results.trust import confidence
from labeltransfer.runs.library.library import Library
from labeltransfer.runs.library.reference_card import Card
from labeltransfer.runs.output.deliver import annotated, deliver
from labeltransfer.runs.output.supplement import report_html
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.work import work
from labeltransfer.storage import files
from tests.support.builders import mapped_params

Prepare = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def prepared(published: Card, reference_run: Run, demo_pair: Path, tmp_path: Path) -> Prepare:
    """Prepare a query from which some genes were taken; gives the folder and what was said."""
    reference = reference_run.root / "references" / "marrow" / "prepare"

    def make(drop: pd.Index, **changes: object) -> tuple[Path, list[str]]:
        query = ad.read_h5ad(demo_pair / QUERY)
        query[:, ~query.var_names.isin(drop)].copy().write_h5ad(tmp_path / "query.h5ad")
        said: list[str] = []
        params = mapped_params(published, tmp_path / "query.h5ad", **changes)
        prepare_query(params, reference, tmp_path, report=said.append, progress=lambda share: None)
        return tmp_path, said

    return make


def test_missing_genes_are_counted_reported_and_taken_as_zeros(
    published: Card, prepared: Prepare, demo_pair: Path
) -> None:
    genes = pd.Index(published.genes)
    dropped = ~genes.isin(ad.read_h5ad(demo_pair / QUERY).var_names)
    dropped[1::10] = True
    drop, n_padded = genes[dropped], int(dropped.sum())
    folder, said = prepared(drop)
    assert f"{300 - n_padded} of the 300 genes" in said[1] and f"other {n_padded} are zeros" in said[1]
    table, cells = read_genes(folder / "prepared.h5ad"), read_cells(folder / "prepared.h5ad")
    assert list(table.index[table["highly_variable"]]) == published.genes, "all genes of the models, in their order"
    assert set(table.index[table["padded"]]) == set(drop)
    counts, _ = all_counts(folder / "prepared.h5ad")
    is_query = (cells["side"] == "query").to_numpy()
    assert counts[is_query][:, dropped].nnz == 0 < counts[~is_query][:, dropped].nnz
    # what is there is what the file holds, cell by cell and gene by gene
    raw = ad.read_h5ad(demo_pair / QUERY)[cells.loc[is_query, "cell_id"], genes[~dropped]]
    np.testing.assert_array_equal(counts[is_query][:, ~dropped].toarray(), raw.X.toarray())
    summary = files.read_json(folder / "summary.json")
    assert summary["genes"]["n_padded"] == n_padded and summary["genes"]["n_chosen"] == 300
    assert summary["query"]["n_cells"] == is_query.sum() and summary["reference"]["n_cells"] == 300


def test_the_references_cells_are_those_it_was_published_with(
    published: Card,
    reference_run: Run,
    prepared: Prepare,
) -> None:
    folder, _ = prepared(pd.Index(published.genes[:5]))
    before = reference_run.artefacts.prepared
    own = (read_cells(folder / "prepared.h5ad")["side"] == "reference").to_numpy()
    kept = read_cells(folder / "prepared.h5ad")[own]
    pd.testing.assert_series_equal(
        kept["training_label"].astype(str), read_cells(before)["training_label"].astype(str), check_names=False
    )
    np.testing.assert_array_equal(
        all_counts(folder / "prepared.h5ad")[0][own].toarray(), all_counts(before)[0].toarray()
    )
    with h5py.File(folder / "prepared.h5ad") as file:
        counts = ad.io.read_elem(file["layers/counts"]).tocsr()[own]
    np.testing.assert_array_equal(np.asarray(counts.sum(axis=1)).ravel(), kept["n_counts"])
    np.testing.assert_array_equal(np.diff(counts.indptr), kept["n_genes"])


def test_too_few_genes_are_refused_with_the_number(published: Card, prepared: Prepare, demo_pair: Path) -> None:
    genes = pd.Index(published.genes)
    there = genes[genes.isin(ad.read_h5ad(demo_pair / QUERY).var_names)]
    with pytest.raises(InputError, match=r"has 149 of the 300 genes .* At least 50% are needed"):
        prepared(there[149:])
    _, said = prepared(there[150:])
    assert "has 150 of the 300 genes" in said[1] and "Below 80% labels may suffer" in said[1]


@pytest.mark.parametrize(
    ("names", "others", "severity", "words"),
    [
        (["A", "B", "C", "D"], {}, "note", "has 4 of the 4 genes"),
        (["A", "B", "C"], {}, "warning", "are zeros"),
        (["a", "b", "c", "d"], {}, "error", "upper and lower case"),
        ([f"ENSG0000000000{i}" for i in range(4)], {}, "error", "The reference has symbols, the query Ensembl ids"),
        (["x", "y"], {"symbol": ["A", "B", "C", "D"]}, "error", "var column 'symbol': 4 are then shared"),
        (["x"], {}, "error", "Only 0% of the reference's genes"),
    ],
)
def test_a_gene_finding_says_the_way_out(
    names: list[str], others: dict[str, list[str]], severity: str, words: str
) -> None:
    columns = {column: pd.Index(own) for column, own in others.items()}
    found = gene_finding(pd.Index(list("ABCD")), pd.Index(names), others=columns)
    assert found.severity == severity
    assert words in f"{found.title}. {found.detail} {found.way_out}"


def test_a_large_query_is_learnt_from_by_a_sample_of_every_batch(published: Card, prepared: Prepare) -> None:
    folder, said = prepared(pd.Index([]), prepare={"max_query_cells": 100})
    cells = read_cells(folder / "prepared.h5ad")
    query = cells[cells["side"] == "query"]
    assert query["trained_on"].sum() == 100 < len(query)
    assert cells.loc[cells["side"] == "reference", "trained_on"].all()
    assert any("learns from 100 of" in sentence for sentence in said)


def test_only_the_weights_of_the_querys_batches_learn(mapped_run: Run, published: Card, reference_run: Run) -> None:
    files = (reference_run.artefact("transfer", "model/model.pt"), mapped_run.artefact("transfer", "model/model.pt"))
    before, after = (torch.load(path, weights_only=False)["model_state_dict"] for path in files)
    n_new = 0
    for name, weights in before.items():
        own = after[name]
        if not isinstance(weights, torch.Tensor):  # what pyro keeps next to the weights
            continue
        if own.shape == weights.shape:
            torch.testing.assert_close(own, weights, rtol=0, atol=0)
        else:  # a column more for each batch
            assert own.shape[0] == weights.shape[0] and own.shape[1] > weights.shape[1], name
            torch.testing.assert_close(own[:, : weights.shape[1]], weights, rtol=0, atol=0)
            n_new += 1
    assert n_new == 3, "the first layers of both encoders and of the decoder"


def test_a_mapped_run_has_what_every_run_has(
    mapped_run: Run, published: Card, reference_run: Run, tmp_path: Path
) -> None:
    assert list(mapped_run.stage_keys()) == ["prepare", "transfer", "embed_scanvi", "opinions", "evaluate"]
    cells = pd.read_parquet(mapped_run.artefacts.cells)
    assert cells["side"].value_counts().to_dict() == {"reference": 300, "query": 315}
    assert "scvi_1" not in cells and np.isfinite(cells[["scanvi_1", "scanvi_2"]]).all(axis=None)
    kept = pd.read_parquet(reference_run.artefacts.soft)
    soft = pd.read_parquet(mapped_run.artefacts.soft)
    np.testing.assert_array_equal(soft.iloc[:300].to_numpy(), kept.to_numpy())
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    trust = files.read_json(mapped_run.artefacts.trust)
    assert trust["methods"]["scanvi"]["temperature"] == published.scores["temperature"]
    assert trust["methods"]["scanvi"]["accuracy"] == published.scores["accuracy"]
    calibrated = confidence.calibrated(soft, published.scores["temperature"]).max(axis=1)
    np.testing.assert_allclose(cells["scanvi_confidence"], calibrated, rtol=1e-5)
    assert set(cells["decided_by"]) == {"consensus"} and len(trust["voters"]) == 6
    (tmp_path / "out").mkdir()
    lines = list(deliver(mapped_run, tmp_path / "out"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "scanvi_model" in names and not {"scvi_model", "script.py"} & names
    assert "315 query cells labelled" in lines[0] and "script" not in lines[-1]
    annotated(mapped_run, tmp_path / "annotated.h5ad")
    assert set(ad.read_h5ad(tmp_path / "annotated.h5ad").obsm) == {"X_scANVI", "X_mde_scANVI", "soft_predictions"}
    assert "published reference" in report_html(mapped_run)


def test_query_cells_without_a_count_in_the_models_genes_are_placed_and_not_learnt_from(
    published: Card, reference_run: Run, demo_pair: Path, tmp_path: Path
) -> None:
    query = ad.read_h5ad(demo_pair / QUERY)
    wanted = ((query.obs["tissue"] == "Marrow") & (query.obs["sex"] == "female")).to_numpy()
    emptied = np.flatnonzero(wanted)[[2, 5]]
    counts, chosen = query.X.toarray(), query.var_names.isin(published.genes)
    counts[np.ix_(emptied, chosen)] = 0
    counts[np.ix_(emptied, ~chosen)] += 1
    query.X = sp.csr_matrix(counts)
    query.write_h5ad(tmp_path / "query.h5ad")
    run = Store(reference_run.root).create(mapped_params(published, tmp_path / "query.h5ad"))
    status = work(run)
    assert status.state == "done", status.error
    cells = pd.read_parquet(run.artefacts.cells)
    assert list(cells.loc[~cells["trained_on"], "cell_id"]) == list(query.obs_names[emptied])
    prepared_cells = read_cells(run.artefacts.prepared)
    assert list(np.flatnonzero(prepared_cells["n_counts_chosen"] == 0)) == [302, 305]
    assert np.isfinite(np.load(run.artefacts.latent("transfer"))).all()
    np.testing.assert_allclose(pd.read_parquet(run.artefacts.soft).sum(axis=1), 1, rtol=1e-5)
    assert files.read_json(run.artefacts.summary)["query"]["n_without_chosen"] == 2


def test_a_single_query_cell_is_mapped(published: Card, reference_run: Run, demo_pair: Path, tmp_path: Path) -> None:
    query = ad.read_h5ad(demo_pair / QUERY)
    wanted = ((query.obs["tissue"] == "Marrow") & (query.obs["sex"] == "female")).to_numpy()
    query[np.flatnonzero(wanted)[:1]].copy().write_h5ad(tmp_path / "query.h5ad")
    run = Store(reference_run.root).create(mapped_params(published, tmp_path / "query.h5ad"))
    status = work(run)
    assert status.state == "done", status.error
    cells = pd.read_parquet(run.artefacts.cells)
    assert cells.loc[cells["side"] == "query", "predicted_label"].notna().sum() == 1


def test_a_reference_deleted_or_replaced_under_a_queued_run_is_reported(
    reference_run: Run, demo_pair: Path, tmp_path: Path
) -> None:
    library = Library(tmp_path)
    card = library.publish(reference_run, "marrow")
    runs = [Store(tmp_path).create(mapped_params(card, demo_pair / QUERY)) for _ in range(2)]
    library.publish(reference_run, "marrow", description="another", replace=True)
    status = work(runs[0])
    assert status.state == "failed" and "Another reference is published as 'marrow'" in status.error
    shutil.rmtree(library.folder / "marrow")  # the library itself keeps what a waiting run will read
    status = work(runs[1])
    assert status.state == "failed" and "No reference is published as 'marrow'" in status.error


def test_the_command_line_maps(
    published: Card,
    reference_run: Run,
    demo_pair: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LABELTRANSFER_HOME", str(reference_run.root))
    plain = ["map", "--query", str(demo_pair / QUERY), "--out", str(tmp_path / "out"), "--epochs", "1"]
    assert main([*plain, "--model", "nothing"]) == 2
    assert "No reference is published as 'nothing'. There are: marrow." in capsys.readouterr().err
    assert main([*plain, "--model", "../marrow"]) == 2
    assert "cannot be the name" in capsys.readouterr().err
    assert main([*plain, "--model", "marrow", "--filter-query", "tissue=Moon"]) == 2
    assert "No cell has tissue = Moon" in capsys.readouterr().err
    lengths = ["--length-normalize", "query", "--gene-lengths", str(demo_pair / LENGTHS)]
    assert main([*plain, "--model", "marrow", "--filter-query", "tissue=Marrow", "sex=female", *lengths]) == 0
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(predictions) == 315 and set(predictions["predicted_label"]) <= set(published.labels)
    assert "accuracy" in capsys.readouterr().out, "scored by the reference's own label column, which the query has"
