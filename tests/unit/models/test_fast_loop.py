"""The fast loop: scvi-tools' objective, value and gradients; ordinary models; an end where nothing improves."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scvi
import torch
from scvi.dataloaders import AnnDataLoader
from scvi.distributions import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.errors import RunCancelled, RunError
from labeltransfer.models.fast import compiled, objective, parallel
from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.layers import dropped
from labeltransfer.models.fast.likelihood import Counts, Likelihood, negative_binomial, poisson, zero_inflated
from labeltransfer.models.fast.loop import Plateau, shuffled_steps
from labeltransfer.models.fast.tasks import ScanviTask
from labeltransfer.models.integrate import latent, train_scvi
from labeltransfer.models.progress import Epoch, ProgressCallback, Stopped
from labeltransfer.models.transfer import soft_predictions, train_scanvi
from labeltransfer.params import UNKNOWN, IntegrateParams, RunParams, TransferParams
from labeltransfer.presets import FOR_MAPPING, PRESETS, Pace, scanvi_pace, scvi_pace

FAST_SCVI = IntegrateParams(loop="fast", max_epochs=3, n_layers=1, n_latent=5, n_hidden=32)
FAST_SCANVI = TransferParams(loop="fast", max_epochs=2, stratified_split=True)


@pytest.fixture(scope="module")
def prepared(small_params: RunParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(small_params, folder, report=lambda _: None)
    return folder / "prepared.h5ad"


@pytest.fixture(scope="module")
def fast_scvi(prepared: Path) -> scvi.model.SCVI:
    return train_scvi(training_data(prepared), FAST_SCVI, seed=0)


def as_counts(x: torch.Tensor) -> Counts:
    at = x.reshape(-1).nonzero()[:, 0]
    return Counts(at // x.shape[1], at % x.shape[1], x.reshape(-1)[at], (x > 0).sum(1).cumsum(0), x.shape[1])


@pytest.mark.parametrize("likelihood", ["zinb", "compiled zinb", "nb", "poisson"])
@pytest.mark.parametrize("theta_of", ["gene", "cell"])
@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_likelihood_and_gradients_are_those_of_scvi_tools(likelihood: str, theta_of: str, spread: float) -> None:
    torch.manual_seed(3)
    n_cells, n_genes = 40, 150
    x = torch.poisson(torch.rand(n_cells, n_genes).pow(8) * 400)
    x[0] = 0
    x[0, 0] = 1  # a cell with a single count
    x[:, 1] = 0  # a gene that nobody has
    library = x.sum(1, keepdim=True).log()
    scale, dropout = (torch.randn(n_cells, n_genes) * spread for _ in range(2))
    log_theta = torch.randn(n_genes) if theta_of == "gene" else torch.randn(n_cells, n_genes)

    def plain(kind: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        leaves = [t.to(kind).requires_grad_() for t in (scale, log_theta, dropout)]
        mean, theta = library.to(kind).exp() * leaves[0].softmax(1), leaves[1].exp()
        distribution = {
            "zinb": lambda: ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=leaves[2]),
            "nb": lambda: NegativeBinomial(mu=mean, theta=theta),
            "poisson": lambda: Poisson(rate=mean),
        }[likelihood.removeprefix("compiled ")]()
        leaves = leaves[: {"nb": 2, "poisson": 1}.get(likelihood, 3)]
        values = distribution.log_prob(x.to(kind)).sum(1)
        return values, list(torch.autograd.grad(values.sum(), leaves))

    # clones, since the buffers given to it are used up
    def ours(with_gradients: bool) -> Likelihood:
        counts, logits, more = as_counts(x), scale.clone(), {"with_gradients": with_gradients}
        if likelihood == "poisson":
            return poisson(counts, logits, library, **more)
        if likelihood == "nb":
            return negative_binomial(counts, logits, library, log_theta, **more)
        if likelihood == "compiled zinb":
            return compiled.zero_inflated(counts, logits, library, log_theta, dropout.clone())
        return zero_inflated(counts, logits, library, log_theta, dropout.clone(), **more)

    found = ours(True)
    gradients = [found.by_scale, found.by_theta, found.by_dropout]
    gradients = [g for g in gradients if g is not None]
    torch.testing.assert_close(ours(False).value, found.value, rtol=1e-6, atol=1e-4)
    exact, exact_gradients = plain(torch.float64)
    _, single_gradients = plain(torch.float32)
    # as near to the exact value as scvi-tools in single precision, or within a few of its rounding errors
    torch.testing.assert_close(found.value.double(), exact, rtol=5e-6, atol=1e-3)
    for own, theirs, true in zip(gradients, single_gradients, exact_gradients, strict=True):
        error, their_error = ((g - true).abs().max() / true.abs().max() for g in (own, theirs))
        assert error < max(3 * their_error, 2e-6)


@pytest.mark.parametrize("zinb", [zero_inflated, compiled.zero_inflated])
def test_a_probability_that_underflows_leaves_finite_gradients(zinb: Callable[..., Likelihood]) -> None:
    x = torch.zeros(2, 3)
    x[:, 0] = 5
    scale = torch.tensor([[0.0, 60.0, -60.0], [0.0, 0.0, 0.0]])
    dropout = torch.tensor([[-200.0, -200.0, 200.0], [-200.0, 0.0, 200.0]])
    log_theta = torch.tensor([8.0, 8.0, -8.0])
    found = zinb(as_counts(x), scale, torch.full((2, 1), 12.0), log_theta, dropout)
    for tensor in (found.value, found.by_scale, found.by_theta, found.by_dropout):
        assert tensor is not None and torch.isfinite(tensor).all()


def test_where_nothing_can_be_kept_loops_are_compiled_all_the_same() -> None:
    place: dict[str, Any] = {}
    exec("def double(x):\n    return x + x", place)  # noqa: S102  of no file, next to which it could be kept
    assert compiled.compiled_and_kept(place["double"])(2.5) == 5.0


@pytest.fixture(params=["gene", "gene-batch", "for mapping"])
def pair_of_models(request: pytest.FixtureRequest, prepared: Path) -> tuple[scvi.model.SCVI, scvi.model.SCANVI]:
    """Untrained scVI and scANVI, without dropout so that both routes draw the same random numbers."""
    adata = training_data(prepared)
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    how = FOR_MAPPING if request.param == "for mapping" else {"dispersion": request.param}
    model = scvi.model.SCVI(adata, n_layers=2, n_latent=6, dropout_rate=0.0, **how)
    model.is_trained_ = True
    return model, scvi.model.SCANVI.from_scvi_model(model, labels_key="training_label", unlabeled_category=UNKNOWN)


@pytest.mark.parametrize("which", ["scvi", "scanvi"])
def test_objective_and_gradients_are_those_of_scvi_tools(pair_of_models: tuple[Any, Any], which: str) -> None:
    model = pair_of_models[which == "scanvi"]
    module, cells = model.module, DeviceCounts.of_model(model)
    known = np.flatnonzero(model.adata.obs["training_label"] != UNKNOWN)
    rows, labelled = np.arange(5, 300, 3), known[::4]
    tensors, labelled_tensors = (
        next(iter(AnnDataLoader(model.adata_manager, indices=r, batch_size=len(r)))) for r in (rows, labelled)
    )
    parameters = [p for p in module.parameters() if p.requires_grad]
    module.train()
    torch.manual_seed(1)
    more = {"labelled_tensors": labelled_tensors, "classification_ratio": 50} if which == "scanvi" else {}
    _, _, plain = module(tensors, loss_kwargs={"kl_weight": 0.3} | more)
    plain_gradients = torch.autograd.grad(plain.loss, parameters, allow_unused=True)

    torch.manual_seed(1)
    taken, taken_labelled = (cells.take(torch.from_numpy(r)) for r in (rows, labelled))
    if which == "scvi":
        loss = objective.scvi_terms(module, taken).loss(0.3)
    else:
        loss, classification = objective.scanvi_loss(module, taken, lambda: taken_labelled, 0.3)
        assert classification.item() == pytest.approx(plain.classification_loss.item(), rel=2e-5)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert loss.item() == pytest.approx(plain.loss.item(), rel=2e-6)
    largest = max(float(g.abs().max()) for g in plain_gradients if g is not None)
    for own, theirs in zip(gradients, plain_gradients, strict=True):
        assert (own is None) == (theirs is None)
        if own is not None:
            torch.testing.assert_close(own, theirs, rtol=2e-3, atol=2e-6 * largest)


def test_cells_are_taken_as_scvi_tools_loads_them(fast_scvi: scvi.model.SCVI) -> None:
    rows = np.array([7, 3, 500, 11])
    loaded = next(iter(AnnDataLoader(fast_scvi.adata_manager, indices=rows, batch_size=4)))
    taken = DeviceCounts.of_model(fast_scvi).take(torch.from_numpy(rows))
    torch.testing.assert_close(taken.x, loaded["X"].log1p())
    torch.testing.assert_close(taken.log_library, loaded["X"].sum(1, keepdim=True).log())
    assert (taken.batch.argmax(1) == loaded["batch"][:, 0]).all()
    dense = torch.zeros_like(taken.x)
    dense.view(-1)[taken.counts.at] = taken.counts.values
    assert (dense == loaded["X"]).all()


def test_plain_scvi_tools_loads_and_goes_on_with_both_models(
    prepared: Path, fast_scvi: scvi.model.SCVI, tmp_path: Path
) -> None:
    scanvi = train_scanvi(fast_scvi, FAST_SCANVI)
    fast_scvi.save(tmp_path / "scvi_model")
    scanvi.save(tmp_path / "scanvi_model")
    adata = training_data(prepared)
    loaded = scvi.model.SCVI.load(tmp_path / "scvi_model", adata=adata)
    np.testing.assert_array_equal(loaded.get_latent_representation(), latent(fast_scvi))
    assert set(loaded.history) == {"train_loss", "validation_loss"} and len(loaded.history["train_loss"]) == 3
    assert len(loaded.train_indices) + len(loaded.validation_indices) == adata.n_obs
    loaded.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    loaded = scvi.model.SCANVI.load(tmp_path / "scanvi_model", adata=adata)
    assert (loaded.predict() == scanvi.predict()).all()
    soft = soft_predictions(loaded)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-4)


def test_same_seed_gives_the_same_model_and_another_seed_another(prepared: Path, fast_scvi: scvi.model.SCVI) -> None:
    again = train_scvi(training_data(prepared), FAST_SCVI, seed=0)
    np.testing.assert_array_equal(latent(again), latent(fast_scvi))
    assert not np.array_equal(latent(train_scvi(training_data(prepared), FAST_SCVI, seed=1)), latent(fast_scvi))
    soft = [soft_predictions(train_scanvi(model, FAST_SCANVI, seed=0)) for model in (fast_scvi, again)]
    np.testing.assert_array_equal(soft[0], soft[1])


@pytest.mark.parametrize("likelihood", ["nb", "poisson"])
def test_other_likelihoods_train_too(prepared: Path, likelihood: str) -> None:
    params = FAST_SCVI.model_copy(update={"gene_likelihood": likelihood})
    losses: list[Epoch] = []
    train_scvi(training_data(prepared), params, callback=ProgressCallback(losses.append, lambda _: None))
    first, last = losses[0], losses[-1]
    assert first.validation_loss and last.validation_loss and last.validation_loss < first.validation_loss


def test_labelled_cells_are_drawn_anew_each_epoch(fast_scvi: scvi.model.SCVI) -> None:
    model = scvi.model.SCANVI.from_scvi_model(fast_scvi, labels_key="training_label", unlabeled_category=UNKNOWN)
    rows = np.arange(model.adata.n_obs)
    task = ScanviTask(model.module, DeviceCounts.of_model(model), rows, rows[:0], n_samples_per_label=3)
    drawn = []
    for _ in range(2):
        task.begin_epoch(batch_size=16)
        drawn.append(torch.cat(task._steps).sort().values)
    labels = model.adata.obs["training_label"].to_numpy()[drawn[0].numpy()]
    assert UNKNOWN not in labels and np.unique(labels, return_counts=True)[1].max() <= 3
    assert drawn[0].tolist() != drawn[1].tolist()
    assert np.isnan(task.held_out(batch_size=8))  # nothing is held out


def test_a_cancelled_training_ends_at_once(prepared: Path) -> None:
    shares: list[float] = []

    def cancel_at_the_third(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:
            raise RunCancelled("cancelled")

    with pytest.raises(RunCancelled):
        train_scvi(training_data(prepared), FAST_SCVI, callback=ProgressCallback(lambda _: None, cancel_at_the_third))
    assert len(shares) == 3 and shares == sorted(shares) and shares[-1] < 1


def test_a_loss_that_is_no_number_is_said_in_words(prepared: Path) -> None:
    params = FAST_SCVI.model_copy(update={"lr": 1e6})
    with pytest.raises(RunError, match="lower the learning rate"):
        train_scvi(training_data(prepared), params)


@pytest.mark.parametrize(("n_cells", "batch_size"), [(129, 128), (257, 128), (2, 16), (1, 16), (1000, 128)])
def test_no_step_is_left_with_one_cell(n_cells: int, batch_size: int) -> None:
    steps = shuffled_steps(np.arange(n_cells), batch_size)
    assert sorted(torch.cat(steps).tolist()) == list(range(n_cells))
    assert max(map(len, steps)) <= batch_size
    assert n_cells == 1 or min(map(len, steps)) > 1


class _Module:
    """Weights that are a number, so that it shows which are kept."""

    def __init__(self) -> None:
        self.state = {"weight": torch.zeros(1)}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.state

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state


def watched(losses: list[float], pace: Pace) -> tuple[Any, _Module, list[float]]:
    """What becomes of a training with these held-out losses: how it stopped, the module, its learning rates."""
    module, optimizer, plateau = _Module(), SimpleNamespace(lr=1.0), Plateau(pace)
    rates, epoch = [], 0
    for epoch, loss in enumerate(losses, start=1):
        module.state = {"weight": torch.full((1,), float(epoch))}
        ends = plateau.see(epoch, loss, module, optimizer)
        rates.append(optimizer.lr)
        if ends:
            break
    return plateau.finish(module, epoch), module, rates


def test_training_ends_where_the_held_out_cells_no_longer_improve_and_keeps_the_best_weights() -> None:
    pace = Pace(100, 128, 1.0, kl_warmup=1, patience=2, n_drops=1, min_gain=0.01)
    stopped, module, rates = watched([10, 9, 8, 8.1, 7.99, 8.2, 8.3, 8.4], pace)
    assert stopped.converged and stopped.n_epochs == 7 and stopped.best_epoch == 5
    assert float(module.state["weight"]) == 5
    assert rates[3] == 1.0 and rates[4] == pytest.approx(0.3) and rates[-1] == pytest.approx(0.3)


def test_a_loss_that_is_next_to_nothing_cannot_improve_for_ever() -> None:
    losses = [0.5, 0.05, *(0.01 * 0.9**i for i in range(50))]
    stopped, _, _ = watched(losses, Pace(100, 128, 1.0, kl_warmup=1, patience=4, min_gain=0.01))
    assert stopped.converged and stopped.n_epochs < 25


def test_nothing_is_judged_before_the_warm_up_is_over() -> None:
    pace = Pace(100, 128, 1.0, kl_warmup=5, patience=2, min_gain=0.01, judged_from=5)
    stopped, module, _ = watched([1, 2, 3, 4, 9, 8, 7, 6], pace)
    assert not stopped.converged and stopped.best_epoch == 8 and float(module.state["weight"]) == 8


def test_without_patience_all_epochs_are_used_and_the_last_weights_kept() -> None:
    stopped, module, _ = watched([3, 2, 5, 6], Pace(4, 128, 1.0, kl_warmup=1))
    assert (stopped.n_epochs, stopped.best_epoch, stopped.converged) == (4, 4, False)
    assert float(module.state["weight"]) == 4


def test_the_end_of_a_training_is_reported(prepared: Path) -> None:
    reports: list[Stopped] = []
    params = FAST_SCVI.model_copy(
        update={"max_epochs": 60, "early_stopping": True, "early_stopping_patience": 1, "n_epochs_kl_warmup": 1}
    )
    epochs: list[Epoch] = []
    callback = ProgressCallback(epochs.append, lambda _: None, reports.append)
    train_scvi(training_data(prepared), params.model_copy(update={"lr": 0.03}), callback=callback)
    [stopped] = reports
    assert stopped.converged and stopped.n_epochs == len(epochs) < 60
    losses = [epoch.validation_loss for epoch in epochs if epoch.validation_loss is not None]
    assert losses[stopped.best_epoch - 1] == min(losses)


@pytest.mark.parametrize("n_cells", [200, 1_200, 4_000, 16_000, 150_000, 2_000_000])
def test_cells_per_step_and_rate_follow_the_number_of_cells(n_cells: int) -> None:
    integrate, transfer = PRESETS["fast"]["integrate"], PRESETS["fast"]["transfer"]
    assert isinstance(integrate, IntegrateParams) and isinstance(transfer, TransferParams)
    scvi_, scanvi_ = scvi_pace(integrate, n_cells=n_cells), scanvi_pace(transfer, n_cells=n_cells)
    for pace, least_steps in ((scvi_, 120), (scanvi_, 30)):
        assert pace.batch_size in (128, 256, 512)
        assert pace.batch_size == 128 or n_cells / pace.batch_size >= least_steps
        assert pace.batch_size == 512 or n_cells / (2 * pace.batch_size) < least_steps
    assert scvi_.lr == pytest.approx(2e-3 * (scvi_.batch_size / 128) ** 0.5)
    assert 15 <= scvi_.max_epochs <= 120 and 5 <= scanvi_.max_epochs <= 20
    assert scvi_.kl_warmup < scvi_.max_epochs and scvi_.patience == 5
    given = scvi_pace(integrate.model_copy(update={"batch_size": 64, "lr": 0.5}), n_cells=n_cells)
    assert (given.batch_size, given.lr) == (64, 0.5)


@pytest.mark.gpu
@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no NVIDIA GPU here")
def test_the_fast_loop_trains_on_a_gpu_as_on_a_cpu(prepared: Path) -> None:
    models = {where: train_scvi(training_data(prepared), FAST_SCVI, accelerator=where) for where in ("cpu", "gpu")}
    losses = {where: float(model.history["validation_loss"].iloc[-1, 0]) for where, model in models.items()}
    assert losses["gpu"] == pytest.approx(losses["cpu"], rel=0.02)
    soft = soft_predictions(train_scanvi(models["gpu"], FAST_SCANVI, accelerator="gpu"))
    assert np.isfinite(soft.to_numpy()).all()


def test_dropout_silences_the_asked_for_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.full((999, 129), 2.0, requires_grad=True)
    y = dropped(x, 0.1)
    y.sum().backward()
    assert float((y == 0).float().mean()) == pytest.approx(0.1, abs=0.005)
    assert y.mean().item() == pytest.approx(2, abs=0.02)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach() / 2)
    share = (y.view(-1)[:-1] == 0).float() @ (y.view(-1)[1:] == 0).float() / y.numel()
    assert float(share) == pytest.approx(0.01, abs=0.002)  # neighbours fall out independently


def test_gradients_from_another_core_are_the_same(fast_scvi: scvi.model.SCVI, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scvi.model.SCANVI.from_scvi_model(fast_scvi, labels_key="training_label", unlabeled_category=UNKNOWN)
    rows = np.arange(model.adata.n_obs)
    parameters = [p for p in model.module.parameters() if p.requires_grad]
    found = []
    for most_cores in (1, 2):
        monkeypatch.setattr(parallel, "MOST_CORES", most_cores)
        monkeypatch.setattr(parallel.processes, "n_cores", lambda: 2)
        scvi.settings.seed = 0
        task = ScanviTask(model.module, DeviceCounts.of_model(model), rows, rows[:0], n_samples_per_label=9)
        task.begin_epoch(batch_size=64)
        loss, shown = task.loss(torch.from_numpy(rows[:64]), 0.5)
        found.append([loss, shown, *torch.autograd.grad(loss, parameters, allow_unused=True)])
    largest = max(g.abs().max().item() for g in found[0][2:] if g is not None)
    for one, two in zip(*found, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-4, atol=2e-6 * largest)
