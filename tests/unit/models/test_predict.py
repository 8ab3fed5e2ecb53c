"""Labelling in a pass: the same as scvi-tools gives, cell for cell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scvi

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import all_counts, n_untrained, read_cells, training_data
from labeltransfer.errors import RunCancelled
from labeltransfer.models import predict
from labeltransfer.models.integrate import latent, train_scvi
from labeltransfer.models.predict import stream_latent, stream_soft
from labeltransfer.models.transfer import soft_predictions, train_scanvi
from labeltransfer.params import RunParams


@pytest.fixture(scope="module")
def sampled(small_params: RunParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared so that 120 of 315 query cells are trained on, in batches of which the last is last by name too."""
    folder = tmp_path_factory.mktemp("sampled")
    params = small_params.model_copy(
        update={
            "prepare": small_params.prepare.model_copy(update={"max_query_cells": 120}),
            "query": small_params.query.model_copy(update={"batch_key": "age"}),
        }
    )
    prepare(params, folder, report=lambda _: None)
    return folder / "prepared.h5ad"


@pytest.fixture(scope="module")
def scvi_model(sampled: Path, small_params: RunParams) -> scvi.model.SCVI:
    return train_scvi(training_data(sampled), small_params.integrate)


@pytest.fixture(scope="module")
def scanvi_model(scvi_model: scvi.model.SCVI, small_params: RunParams) -> scvi.model.SCANVI:
    return train_scanvi(scvi_model, small_params.transfer)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "N_BLOCK", 64)


def test_the_latent_equals_that_of_scvi_tools_on_the_cells_trained_on(
    sampled: Path, scvi_model: scvi.model.SCVI
) -> None:
    counts, batches = all_counts(sampled)
    points = stream_latent(scvi_model, counts, batches, progress=lambda _: None)
    trained = read_cells(sampled)["trained_on"].to_numpy()
    assert len(points) == 615 == len(trained) and trained.sum() == 420
    np.testing.assert_allclose(points[trained], latent(scvi_model), rtol=1e-4, atol=1e-5)


def test_labels_of_every_cell_equal_those_of_scvi_tools(sampled: Path, scanvi_model: scvi.model.SCANVI) -> None:
    counts, batches = all_counts(sampled)
    shares: list[float] = []
    points, soft = stream_soft(scanvi_model, counts, batches, progress=shares.append)
    cells = read_cells(sampled)
    assert list(soft.index) == list(cells.index) and (soft.dtypes == np.float32).all()
    assert shares == sorted(shares) and len(shares) == 10 and shares[-1] == 1

    everyone = _all_cells(sampled)
    np.testing.assert_allclose(points, scanvi_model.get_latent_representation(everyone), rtol=1e-4, atol=1e-5)
    theirs = scanvi_model.predict(everyone, soft=True)
    pd.testing.assert_frame_equal(soft, theirs.astype(np.float32), rtol=1e-4, atol=1e-5, check_names=False)
    trained = cells["trained_on"].to_numpy()
    pd.testing.assert_frame_equal(
        soft[trained], soft_predictions(scanvi_model), rtol=1e-4, atol=1e-5, check_names=False
    )


def test_batches_are_given_by_name_and_not_by_their_place(sampled: Path, scanvi_model: scvi.model.SCANVI) -> None:
    _, batches = all_counts(sampled)
    turned_round = batches.cat.reorder_categories(batches.cat.categories[::-1])
    assert list(turned_round.cat.codes) != list(batches.cat.codes)
    codes = [predict._batch_codes(scanvi_model, b).ravel().tolist() for b in (batches, turned_round)]
    assert codes[0] == codes[1] == scanvi_model_codes(scanvi_model, batches)


def scanvi_model_codes(model: scvi.model.SCANVI, batches: pd.Series) -> list[int]:
    mapping = list(model.adata_manager.get_state_registry("batch").categorical_mapping)
    return [mapping.index(batch) for batch in batches]


def test_a_batch_that_the_model_does_not_know_is_refused(sampled: Path, scanvi_model: scvi.model.SCANVI) -> None:
    counts, batches = all_counts(sampled)
    strange = batches.astype(str).where(np.arange(len(batches)) != 5, "moon")
    with pytest.raises(ValueError, match="'moon'"):
        stream_latent(scanvi_model, counts, strange, progress=lambda _: None)
    with pytest.raises(ValueError, match="299 genes"):
        stream_latent(scanvi_model, counts[:, :299], batches, progress=lambda _: None)


def test_a_pass_can_be_cancelled(sampled: Path, scanvi_model: scvi.model.SCANVI) -> None:
    def cancel(share: float) -> None:
        raise RunCancelled("enough")

    counts, batches = all_counts(sampled)
    with pytest.raises(RunCancelled):
        stream_soft(scanvi_model, counts, batches, progress=cancel)


def _all_cells(path: Path) -> "object":
    """All cells as scvi-tools takes them."""
    import anndata as ad

    assert n_untrained(path) == 195
    adata = ad.read_h5ad(path)
    adata = adata[:, adata.var["highly_variable"].to_numpy()].copy()
    adata.layers["counts"] = adata.layers["counts"].tocsr()
    return adata
