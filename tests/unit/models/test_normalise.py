"""Normalisation, rectifier and dropout in one give what torch's modules give one after another."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from labeltransfer.models.fast.normalise import _draw, fits, normalised

RATE = 0.1


def parts(n_units: int, *, rate: float | None = RATE) -> list[nn.Module]:
    """What follows a hidden layer's product, with a weight and a bias that show."""
    norm = nn.BatchNorm1d(n_units, momentum=0.01, eps=0.001)
    with torch.no_grad():
        norm.weight.normal_(1, 0.3)
        norm.bias.normal_(0, 0.3)
    return [norm, nn.ReLU()] if rate is None else [norm, nn.ReLU(), nn.Dropout(rate)]


def kept_share(y: Tensor) -> float:
    return float((y != 0).float().mean())


@pytest.mark.parametrize("rate", [None, RATE], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("shape", [(9, 3), (300, 128), (257, 33), (40, 3000)], ids=str)
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_value_gradients_and_running_moments_are_those_of_torchs_modules(
    shape: tuple[int, int], rate: float | None, mean: float
) -> None:
    torch.manual_seed(0)
    x = (2 * torch.randn(shape) + mean).requires_grad_()
    own, torchs = parts(shape[1], rate=rate), nn.BatchNorm1d(shape[1], momentum=0.01, eps=0.001).double()
    torchs.load_state_dict(own[0].state_dict())
    y = normalised(x, own)
    exact = x.detach().double().requires_grad_()
    rectified = torchs(exact).relu()
    # which entries fell out is chance; what they and the others are is not
    expected = rectified if rate is None else rectified * (y != 0) / (1 - rate)
    # digits that a single-precision number of this size has; torch's own are no better
    digits = {"rtol": 1e-4, "atol": 1e-5 + 2e-6 * mean}
    torch.testing.assert_close(y.double(), expected, **digits)
    grad = torch.randn(shape)
    found = torch.autograd.grad(y, [x, *own[0].parameters()], grad)
    torchs_own = torch.autograd.grad(expected, [exact, *torchs.parameters()], grad.double())
    for one, other in zip(found, torchs_own, strict=True):
        torch.testing.assert_close(one.double() / other.abs().max(), other / other.abs().max(), **digits)
    for name, moment in own[0].state_dict().items():
        torch.testing.assert_close(moment.double(), torchs.state_dict()[name].double(), rtol=1e-5, atol=1e-6)


def test_entries_fall_out_by_chance_independently_and_their_mean_stays() -> None:
    torch.manual_seed(0)
    layer = parts(129)
    nn.init.zeros_(layer[0].weight)
    nn.init.constant_(layer[0].bias, 2)  # all entries are 2 before some fall out
    first, second = (normalised(torch.randn(999, 129), layer) == 0 for _ in range(2))
    assert float(first.float().mean()) == pytest.approx(RATE, abs=0.003)
    assert normalised(torch.randn(999, 129), layer).mean().item() == pytest.approx(2, abs=0.01)
    flat = first.view(-1)
    apart = [(flat[:-lag] & flat[lag:]).float().mean() for lag in (1, 2, 16, 129, 258, 2048)]
    for share in (*apart, (first & second).float().mean()):
        assert float(share) == pytest.approx(RATE**2, abs=0.002)
    by_unit = first.float().mean(0)
    assert float(by_unit.std()) == pytest.approx((RATE * (1 - RATE) / 999) ** 0.5, rel=0.25)


def test_a_generator_settles_what_falls_out() -> None:
    x, layer = torch.randn(50, 20), parts(20)
    one, same, other = (normalised(x, layer, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_what_is_no_number_stays_so() -> None:
    x = torch.randn(50, 20)
    x[3, 4] = torch.nan
    for layer in (parts(20), parts(20, rate=None)):
        assert torch.isnan(normalised(x, layer)[:, 4]).any()


def philox(counter: int, key: int) -> list[int]:
    """Philox 4x32-10 in whole numbers, as its authors write it down."""
    a, b, c, d = counter, 0, 0, 0
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q >> 32 ^ b ^ low, q & 0xFFFFFFFF, p >> 32 ^ d ^ high, p & 0xFFFFFFFF
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


def test_random_numbers_are_philoxs() -> None:
    assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # the authors' own example
    key, first = 0x0123456789ABCDEF, 4_000_000_000
    out = np.empty(4 * 37, np.uint32)
    _draw(out, first, np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32))
    assert out.reshape(4, 37).T.tolist() == [philox(first + i, key) for i in range(37)]


@pytest.mark.parametrize("which", [None, "judging", "layer norm", "few cells", "double precision"])
def test_other_layers_and_small_arrays_are_left_to_torch(which: str | None) -> None:
    layer, x = parts(128), torch.randn(10 if which == "few cells" else 2000, 128)
    if which == "judging":
        layer[0].eval()
    if which == "layer norm":
        layer.insert(1, nn.LayerNorm(128))
    assert fits(layer, x.double() if which == "double precision" else x) == (which is None)
