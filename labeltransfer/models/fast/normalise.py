"""What follows a hidden layer's product on a processor, compiled: normalisation, rectifier and dropout at once.

torch takes each by itself, a pass over all cells' units forward and another backward, and with scANVI's cells under
each label those arrays no longer fit into a cache. Here it is one pass for the moments and one for all the rest,
forward and backward, and only the layer's input and output are kept. Random numbers are those of a counter, as torch
draws them on a GPU: they need not be drawn one after another, and half of each is enough.

Rows are taken several at a time, as one long row: the loops are then long enough to pay for their calls, and each sum
has several parts, which keeps it exact.

Source: Ioffe and Szegedy, ICML 2015 (batch normalisation); Salmon et al., SC 2011 (Philox 4x32-10).
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from labeltransfer.models.fast.compiled import LOOP, compiled_and_kept

FINEST = 2**16
"""Rates of dropout are taken to one part in so many."""

WORTH = 2**17
"""Entries from which on this pays; smaller arrays stay in a cache from one of torch's passes to the next."""

LONG = 2048
"""Entries of a long row; with all else that a loop over it sees, it stays in the innermost cache."""

Array = np.ndarray
F, F64, UINT, LARGE = np.float32, np.float64, np.uint32, np.uint64
ZERO = F(0)
FACTORS = LARGE(0xD2511F53), LARGE(0xCD9E8D57)
STEPS = UINT(0x9E3779B9), UINT(0xBB67AE85)


def fits(parts: list[nn.Module], x: Tensor) -> bool:
    """Whether :func:`normalised` does what follows a layer's product, and pays for this input."""
    kinds = tuple(type(part) for part in parts)
    known = kinds in ((nn.BatchNorm1d, nn.ReLU), (nn.BatchNorm1d, nn.ReLU, nn.Dropout))
    pays = x.device.type == "cpu" and x.numel() >= WORTH
    return known and parts[0].training and pays and x.dtype == torch.float32


def normalised(x: Tensor, parts: list[nn.Module], generator: torch.Generator | None = None) -> Tensor:
    """Batch normalisation by the rows' own moments, rectifier and, where it is among ``parts``, dropout.

    Parameters
    ----------
    x
        Output of a layer's product, shape (n_rows, n_units).
    parts
        The layer's modules after the product; see :func:`fits`. Running moments are kept as torch keeps them.
    generator
        Where the key of dropout's random numbers comes from; None is torch's own.
    """
    norm: Any = parts[0]
    n_dropped = round(parts[2].p * FINEST) if len(parts) > 2 else 0
    key = int(torch.randint(2**63 - 1, (), generator=generator)) if n_dropped else 0
    norm.num_batches_tracked.add_(1)
    units: Tensor = _Normalised.apply(x, norm.weight, norm.bias, norm, n_dropped, key)
    return units


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Any, n_dropped: int, key: int) -> Tensor:
        moments = np.empty((2, x.shape[1]), F)
        out = torch.empty_like(x)
        running = norm.running_mean.numpy(), norm.running_var.numpy()
        settings = F(norm.momentum), F(norm.eps), n_dropped, UINT(key & 0xFFFFFFFF), UINT(key >> 32)
        _forward(x.numpy(), weight.numpy(), bias.numpy(), *running, *settings, moments, out.numpy())
        ctx.save_for_backward(x, out, weight)
        ctx.moments, ctx.factor = moments, F(FINEST / (FINEST - n_dropped))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        arrays = (tensor.numpy() for tensor in (grad.contiguous(), out, x, weight, by_x, by_weight, by_bias))
        _backward(*arrays, ctx.moments, ctx.factor)
        return by_x, by_weight, by_bias, None, None, None


@compiled_and_kept
def _forward(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_variance: Array,
    momentum: Any,
    eps: Any,
    n_dropped: int,
    low: Any,
    high: Any,
    moments: Array,
    out: Array,
) -> None:
    """Fill ``out`` and ``moments``, the mean and one over the deviation of each unit, and move the running moments."""
    n_rows, n_units = x.shape
    flat, flat_out, near = x.reshape(-1), out.reshape(-1), _repeated(x[0])
    long = len(near)
    sums, squares = np.zeros(long, F), np.zeros(long, F)
    for i in range(0, len(flat), long):
        _add_moments(flat[i : i + long], near, sums, squares)
    factor = F(FINEST / (FINEST - n_dropped))
    slope, offset = np.empty(n_units, F), np.empty(n_units, F)
    for unit in range(n_units):
        above = _total(sums, unit, n_units) / n_rows
        variance = max(_total(squares, unit, n_units) / n_rows - above * above, 0.0)
        mean = near[unit] + above
        moments[0, unit], moments[1, unit] = F(mean), F(1 / np.sqrt(variance + eps))
        running_mean[unit] += momentum * F(mean - running_mean[unit])
        running_variance[unit] += momentum * F(variance * n_rows / (n_rows - 1) - running_variance[unit])
        slope[unit] = weight[unit] * moments[1, unit] * factor
        offset[unit] = bias[unit] * factor - moments[0, unit] * slope[unit]
    slopes, offsets = _repeated(slope), _repeated(offset)
    numbers = np.zeros(4 * (-(-long // 8)), UINT)
    halves = numbers.view(np.uint16)
    for i in range(0, len(flat), long):
        if n_dropped:
            _draw(numbers, i // long * (len(numbers) // 4), low, high)
        _rectify_and_drop(flat[i : i + long], slopes, offsets, halves, n_dropped, flat_out[i : i + long])


@compiled_and_kept
def _backward(
    grad: Array,
    out: Array,
    x: Array,
    weight: Array,
    by_x: Array,
    by_weight: Array,
    by_bias: Array,
    moments: Array,
    factor: Any,
) -> None:
    """Fill the gradients by the input, the weight and the bias, given ``grad``, that by the output."""
    n_rows, n_units = x.shape
    flat_grad, flat_out, flat, flat_by_x = grad.reshape(-1), out.reshape(-1), x.reshape(-1), by_x.reshape(-1)
    means = _repeated(moments[0])
    long = len(means)
    sums, products = np.zeros(long, F), np.zeros(long, F)
    for i in range(0, len(flat), long):
        _add_products(flat_grad[i : i + long], flat_out[i : i + long], flat[i : i + long], means, sums, products)
    by_grad, by_input, offset = np.empty(n_units, F), np.empty(n_units, F), np.empty(n_units, F)
    for unit in range(n_units):
        mean, per_deviation = moments[0, unit], moments[1, unit]
        total = _total(sums, unit, n_units) * factor
        product = _total(products, unit, n_units) * factor * per_deviation
        by_bias[unit], by_weight[unit] = F(total), F(product)
        slope = weight[unit] * per_deviation
        by_grad[unit] = slope * factor
        by_input[unit] = F(-slope * per_deviation * product / n_rows)
        offset[unit] = F(-slope * total / n_rows - by_input[unit] * F64(mean))
    slopes = _repeated(by_grad), _repeated(by_input), _repeated(offset)
    for i in range(0, len(flat), long):
        arrays = flat_grad[i : i + long], flat_out[i : i + long], flat[i : i + long]
        _combine(*arrays, *slopes, flat_by_x[i : i + long])


@njit(**LOOP)
def _repeated(row: Array) -> Array:
    """A row with an entry for each unit as often as there are rows in a long one."""
    n = max(LONG // len(row), 1)
    long = np.empty(n * len(row), F)
    for i in range(n):
        long[i * len(row) : (i + 1) * len(row)] = row
    return long


@njit(**LOOP)
def _total(long: Array, unit: int, n_units: int) -> Any:
    total = F64(0)
    for i in range(unit, len(long), n_units):
        total += long[i]
    return total


@njit(**LOOP)
def _add_moments(x: Array, near: Array, sums: Array, squares: Array) -> None:
    """Moments are taken about a value near the mean, lest the mean's square take the variance's digits."""
    for i in range(len(x)):
        above = x[i] - near[i]
        sums[i] += above
        squares[i] += above * above


@njit(**LOOP)
def _rectify_and_drop(x: Array, slope: Array, offset: Array, numbers: Array, n_dropped: int, out: Array) -> None:
    for i in range(len(x)):
        y = x[i] * slope[i] + offset[i]
        out[i] = ZERO if numbers[i] < n_dropped or y < ZERO else y


@njit(**LOOP)
def _add_products(grad: Array, out: Array, x: Array, mean: Array, sums: Array, products: Array) -> None:
    for i in range(len(x)):
        g = grad[i] if out[i] != ZERO else ZERO
        sums[i] += g
        products[i] += g * (x[i] - mean[i])


@njit(**LOOP)
def _combine(grad: Array, out: Array, x: Array, by_grad: Array, by_input: Array, offset: Array, by_x: Array) -> None:
    for i in range(len(x)):
        g = grad[i] if out[i] != ZERO else ZERO
        by_x[i] = g * by_grad[i] + x[i] * by_input[i] + offset[i]


@njit(**LOOP)
def _draw(out: Array, first: int, low: Any, high: Any) -> None:
    """Fill with random numbers of 32 bits, four to a counter; counters go on from ``first``, and the key has two parts.

    A counter's numbers lie a quarter of the array apart, so that eight or sixteen counters can be taken at once.
    """
    n = len(out) // 4
    one, two, three, four = out[:n], out[n : 2 * n], out[2 * n : 3 * n], out[3 * n :]
    for i in range(n):
        one[i], two[i], three[i], four[i] = _philox(UINT(first + i), low, high)


@njit(inline="always")
def _philox(counter: Any, low: Any, high: Any) -> Any:
    a, b, c, d = UINT(counter), UINT(0), UINT(0), UINT(0)
    for _ in range(10):
        p, q = LARGE(a) * FACTORS[0], LARGE(c) * FACTORS[1]
        a, b, c, d = UINT(q >> LARGE(32)) ^ b ^ low, UINT(q), UINT(p >> LARGE(32)) ^ d ^ high, UINT(p)
        low, high = UINT(low + STEPS[0]), UINT(high + STEPS[1])
    return a, b, c, d
