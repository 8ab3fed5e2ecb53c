"""Runs over little: ten labelled cells, cells without a count in the chosen genes, a panel of thirty genes."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.params import IntegrateParams, Loop, RunParams, TransferParams, run_params
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.work import work
from labeltransfer.storage import files


def a_file(path: Path, *, labels: list[str], n_genes: int, empty: tuple[int, ...] = (), seed: int = 0) -> str:
    """Cells of types B and T; each type has 20 genes of its own, and the last 40 of 140 genes have a count of 1.

    The cells ``empty`` have no count but in these 40, which are not chosen.
    """
    rng = np.random.default_rng(seed)
    mean = np.full((len(labels), 140), 0.4)
    is_b = np.array([label == "B" for label in labels])
    mean[np.ix_(is_b, range(20))] = mean[np.ix_(~is_b, range(20, 40))] = 6
    counts = rng.poisson(mean)
    counts[:, 100:] = 1
    counts[list(empty), :100] = 0
    obs = pd.DataFrame({"cell_type": labels}, index=[f"{path.stem}{i}" for i in range(len(labels))])
    genes = pd.DataFrame(index=[f"Gene{i}" for i in range(140)])
    adata = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=genes)
    adata[:, :n_genes].copy().write_h5ad(path)
    return str(path)


def small_run(
    folder: Path,
    *,
    loop: Loop = "fast",
    n_genes: int = 140,
    empty: bool = False,
    labels: str = "BT" * 5,
    n_query: int = 14,
) -> RunParams:
    """Ten labelled cells, and fourteen to label, in as few epochs as show something."""
    reference = a_file(folder / "r.h5ad", labels=list(labels), n_genes=n_genes, empty=(4,) if empty else ())
    of_query = list("BT" * n_query)[:n_query]
    query = a_file(folder / "q.h5ad", labels=of_query, n_genes=n_genes, empty=(3, 8) if empty else (), seed=1)
    settings: dict[str, Any] = {
        "reference": {"path": reference, "labels_key": "cell_type"},
        "query": {"path": query, "labels_key": "cell_type"},
        "prepare": {"n_top_genes": 100},
        "integrate": IntegrateParams(loop=loop, max_epochs=3, n_layers=1, n_latent=4, n_hidden=16),
        "transfer": TransferParams(loop=loop, max_epochs=3),
    }
    return run_params(settings)


def finished(store: Store, params: RunParams) -> tuple[Run, pd.DataFrame]:
    run = store.create(params)
    status = work(run)
    assert status.state == "done", status.error
    return run, pd.read_parquet(run.artefacts.cells)


def assert_labelled(run: Run, cells: pd.DataFrame) -> None:
    assert cells["predicted_label"].isin(["B", "T", "X"]).all()
    assert np.isfinite(cells[["confidence", "scvi_1", "scvi_2", "scanvi_1", "scanvi_2"]]).all(axis=None)
    assert np.isfinite(np.load(run.artefacts.latent("integrate"))).all()
    assert np.isfinite(np.load(run.artefacts.latent("transfer"))).all()
    np.testing.assert_allclose(pd.read_parquet(run.artefacts.soft).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loop", ["fast", "scvi-tools"])
def test_ten_labelled_cells_and_cells_without_counts_go_through(store: Store, tmp_path: Path, loop: Loop) -> None:
    run, cells = finished(store, small_run(tmp_path, loop=loop, empty=True))
    assert cells["side"].value_counts().to_dict() == {"query": 14, "reference": 10}
    assert list(cells.index[~cells["trained_on"]]) == ["r4", "q3", "q8"]
    assert_labelled(run, cells)
    steps = files.read_json(run.artefacts.summary)["steps"]
    assert any("2 cells of the query (q3, q8)" in step for step in steps)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loop", ["fast", "scvi-tools"])
def test_so_few_cells_that_none_is_held_out_go_through(store: Store, tmp_path: Path, loop: Loop) -> None:
    run, cells = finished(store, small_run(tmp_path, loop=loop, labels="BTX" * 3, n_query=1))
    assert cells["side"].value_counts().to_dict() == {"reference": 9, "query": 1}
    assert not len(np.load(run.artefacts.held_out))
    assert_labelled(run, cells)


@pytest.mark.filterwarnings("ignore")
def test_thirty_genes_are_enough(store: Store, tmp_path: Path) -> None:
    run, cells = finished(store, small_run(tmp_path, n_genes=30))
    assert_labelled(run, cells)
    assert cells["trained_on"].all()
