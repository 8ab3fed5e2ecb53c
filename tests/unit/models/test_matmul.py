"""Which library multiplies matrices: single precision either way, the faster one, and only while a model trains."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from labeltransfer.models.fast import matmul
from labeltransfer.models.fast.matmul import faster_products, onednn_pays


@pytest.fixture(autouse=True)
def fresh_choice() -> Iterator[None]:
    """Each test lets the choice be made anew."""
    onednn_pays.cache_clear()
    yield
    onednn_pays.cache_clear()


def choose(monkeypatch: pytest.MonkeyPatch, *, mkl: tuple[Tensor, float], onednn: tuple[Tensor, float]) -> bool:
    """What is chosen where the two libraries give these products in these seconds."""
    trials = iter([mkl, onednn])
    monkeypatch.setattr(matmul, "_tried", lambda *_: next(trials))
    return onednn_pays()


def test_products_stay_in_single_precision() -> None:
    a, b = torch.randn(200, 128), torch.randn(300, 128)
    exact = a.double() @ b.double().t()
    with faster_products():
        error = (a @ b.t() - exact).abs().max() / exact.abs().max()
    assert float(error) < 1e-5


@pytest.mark.parametrize("pays", [True, False])
def test_the_setting_ends_with_the_training_even_with_one_that_fails(
    pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "onednn_pays", lambda: pays)
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    with pytest.raises(ZeroDivisionError), faster_products():
        assert (settings.fp32_precision == "bf16") == pays
        raise ZeroDivisionError
    assert settings.fp32_precision == before


def test_the_faster_library_is_taken_where_it_is_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.tensor([[1.0, -2.0]])
    assert choose(monkeypatch, mkl=(product, 2.0), onednn=(product * (1 + 1e-6), 1.0))


def test_half_precision_is_never_taken_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.randn(64, 200, generator=torch.Generator().manual_seed(0))
    assert not choose(monkeypatch, mkl=(product, 2.0), onednn=(product.bfloat16().float(), 0.1))


def test_a_gain_that_may_be_chance_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.ones(1, 2)
    assert not choose(monkeypatch, mkl=(product, 1.1), onednn=(product, 1.0))


def test_the_choice_draws_none_of_the_trainings_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    onednn_pays()
    assert torch.equal(torch.rand(3), expected)
