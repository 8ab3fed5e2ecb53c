"""scVI and scANVI as trained here: ordinary models, reproducible, resampled, cancellable."""

from pathlib import Path

import numpy as np
import pytest
import scvi
from scvi.dataloaders import SemiSupervisedDataLoader

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.errors import RunCancelled, SettingsError
from labeltransfer.models.integrate import latent, train_scvi
from labeltransfer.models.progress import Epoch, ProgressCallback
from labeltransfer.models.transfer import choose_split, soft_predictions, stratified_split, train_scanvi
from labeltransfer.params import UNKNOWN, RunParams, TransferParams


@pytest.fixture(scope="module")
def prepared(small_params: RunParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(small_params, folder, report=lambda _: None)
    return folder / "prepared.h5ad"


@pytest.fixture(scope="module")
def scvi_model(prepared: Path, small_params: RunParams) -> scvi.model.SCVI:
    return train_scvi(training_data(prepared), small_params.integrate, seed=0)


def test_same_seed_gives_the_same_latent_and_predictions(
    prepared: Path, small_params: RunParams, scvi_model: scvi.model.SCVI
) -> None:
    again = train_scvi(training_data(prepared), small_params.integrate, seed=0)
    np.testing.assert_array_equal(latent(again), latent(scvi_model))
    other = train_scvi(training_data(prepared), small_params.integrate, seed=1)
    assert not np.array_equal(latent(other), latent(scvi_model))
    soft = [soft_predictions(train_scanvi(model, small_params.transfer, seed=0)) for model in (scvi_model, again)]
    np.testing.assert_array_equal(soft[0], soft[1])


def test_a_watched_training_equals_plain_scvi_tools_to_the_last_bit(
    prepared: Path, small_params: RunParams, scvi_model: scvi.model.SCVI
) -> None:
    watcher = ProgressCallback(lambda _: None, lambda _: None)
    ours = train_scvi(training_data(prepared), small_params.integrate, seed=0, callback=watcher)
    ours_soft = soft_predictions(train_scanvi(ours, small_params.transfer, seed=0, callback=watcher))

    adata = training_data(prepared)
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    vae = scvi.model.SCVI(adata, n_layers=1, n_latent=5, n_hidden=32)
    vae.train(max_epochs=3, accelerator="cpu", enable_progress_bar=False)
    np.testing.assert_array_equal(latent(ours), vae.get_latent_representation())
    scvi.settings.seed = 0
    lvae = scvi.model.SCANVI.from_scvi_model(vae, labels_key="training_label", unlabeled_category=UNKNOWN)
    lvae.train(max_epochs=2, n_samples_per_label=100, accelerator="cpu", enable_progress_bar=False)
    np.testing.assert_array_equal(ours_soft, lvae.predict(soft=True))


def test_labelled_cells_are_drawn_anew_in_each_epoch_with_a_callback(
    scvi_model: scvi.model.SCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[frozenset[int]] = []
    draw = SemiSupervisedDataLoader.subsample_labels

    def spy(self: SemiSupervisedDataLoader) -> np.ndarray:
        rows = draw(self)
        drawn.append(frozenset(rows.tolist()))
        return rows

    monkeypatch.setattr(SemiSupervisedDataLoader, "subsample_labels", spy)
    epochs: list[Epoch] = []
    params = TransferParams(max_epochs=3, n_samples_per_label=5)
    train_scanvi(scvi_model, params, seed=0, callback=ProgressCallback(epochs.append, lambda _: None))
    assert len(epochs) == 3
    training_draws = drawn[-3:]
    assert len(set(training_draws)) == 3


def test_each_epoch_reports_training_and_validation_loss(prepared: Path, small_params: RunParams) -> None:
    epochs: list[Epoch] = []
    shares: list[float] = []
    train_scvi(training_data(prepared), small_params.integrate, callback=ProgressCallback(epochs.append, shares.append))
    assert [(e.epoch, e.n_epochs) for e in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert all(e.train_loss and e.validation_loss and e.seconds > 0 for e in epochs)
    assert shares == sorted(shares) and min(shares) >= 0 and max(shares) <= 1


def test_a_cancelled_training_stops_within_a_batch(prepared: Path, small_params: RunParams) -> None:
    seen = 0

    def cancel_at_the_third(_: float) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise RunCancelled("enough")

    with pytest.raises(RunCancelled):
        train_scvi(
            training_data(prepared), small_params.integrate, callback=ProgressCallback(print, cancel_at_the_third)
        )
    assert seen == 3


def test_an_epoch_that_ends_with_one_cell_is_refused_with_the_way_out(prepared: Path, small_params: RunParams) -> None:
    adata = training_data(prepared)
    n_train = 97
    one_too_many = small_params.integrate.model_copy(update={"batch_size": 32, "train_size": 0.97})
    with pytest.raises(SettingsError, match="set 'Cells per step' to 33"):
        train_scvi(adata[: round(n_train / 0.97)].copy(), one_too_many)


@pytest.mark.parametrize("stratified", [False, True])
def test_scanvi_trains_whatever_number_of_cells_its_last_step_would_have(
    scvi_model: scvi.model.SCVI, stratified: bool
) -> None:
    labels = scvi_model.adata.obs["training_label"]
    n_labels = labels.nunique() - 1
    # One cell of each label, of which all but one fit into the first steps.
    params = TransferParams(
        max_epochs=1, n_samples_per_label=1, batch_size=max(16, n_labels - 1), stratified_split=stratified
    )
    assert n_labels % params.batch_size == 1
    train_scanvi(scvi_model, params)


@pytest.mark.parametrize("n_cells", range(100, 140))
@pytest.mark.parametrize("stratified", [False, True])
def test_no_split_ends_an_epoch_with_a_step_of_one_cell(n_cells: int, stratified: bool) -> None:
    labels = np.array(["a"] * 30 + [UNKNOWN] * (n_cells - 30), dtype=object)
    params = TransferParams(batch_size=16, stratified_split=stratified)
    split = choose_split(labels, params)
    n_training = len(split[0]) if split else -(-27 // 1) + -(-9 * (n_cells - 30) // 10)
    assert n_training % 16 != 1
    if split:
        assert sorted(np.concatenate(split)) == list(range(n_cells))


@pytest.mark.parametrize("n_unknown", [1, 14, 22, 23, 400])
@pytest.mark.parametrize("labels", ["ab", "aab", "abc" * 3, "aaaaaaaab", "ab" * 5])
@pytest.mark.parametrize("stratified", [False, True])
def test_held_out_cells_of_scvi_tools_loop_have_a_label_among_them_or_there_are_none(
    labels: str, n_unknown: int, stratified: bool
) -> None:
    everyone = np.array([*labels, *[UNKNOWN] * n_unknown], dtype=object)
    params = TransferParams(batch_size=16, stratified_split=stratified)
    split = choose_split(everyone, params)
    if split is None:  # scvi-tools rounds up
        assert len(labels) == 10 or n_unknown == 1
        return
    training, validation, _ = split
    assert sorted(np.concatenate(split)) == list(range(len(everyone)))
    assert set(labels) <= set(everyone[training]) and len(training) % 16 != 1
    assert not len(validation) or (everyone[validation] != UNKNOWN).any()


def test_soft_predictions_are_probabilities_over_the_reference_labels(
    scvi_model: scvi.model.SCVI, small_params: RunParams
) -> None:
    model = train_scanvi(scvi_model, small_params.transfer)
    soft = soft_predictions(model)
    labels = scvi_model.adata.obs["training_label"]
    assert set(soft.columns) == set(labels) - {UNKNOWN}
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-4)
    assert (soft.idxmax(axis=1).to_numpy() == model.predict()).all()


def test_a_stratified_split_trains_on_every_label() -> None:
    labels = np.array(["rare"] + ["few"] * 3 + ["many"] * 96)
    training, validation, test = stratified_split(labels, train_size=0.9, seed=3)
    assert set(labels[training]) == {"rare", "few", "many"}
    assert sorted([*training, *validation]) == list(range(100)) and test.size == 0
    assert (labels[training] == "many").sum() == 86


def test_plain_scvi_tools_loads_both_models(
    prepared: Path, scvi_model: scvi.model.SCVI, small_params: RunParams, tmp_path: Path
) -> None:
    scanvi = train_scanvi(scvi_model, small_params.transfer)
    scvi_model.save(tmp_path / "scvi_model")
    scanvi.save(tmp_path / "scanvi_model")
    adata = training_data(prepared)
    np.testing.assert_array_equal(
        scvi.model.SCVI.load(tmp_path / "scvi_model", adata=adata).get_latent_representation(), latent(scvi_model)
    )
    loaded = scvi.model.SCANVI.load(tmp_path / "scanvi_model", adata=adata)
    assert (loaded.predict() == scanvi.predict()).all()


@pytest.mark.gpu
@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no NVIDIA GPU here")
def test_both_models_train_on_a_gpu(prepared: Path, small_params: RunParams) -> None:
    model = train_scvi(training_data(prepared), small_params.integrate, accelerator="gpu")
    soft = soft_predictions(train_scanvi(model, small_params.transfer, accelerator="gpu"))
    assert np.isfinite(soft.to_numpy()).all()
