"""The zero-inflated negative binomial on a processor, compiled: a cell's genes stay in the innermost cache.

The value and gradients of :func:`.likelihood.zero_inflated`, which takes two dozen passes over arrays as large as cells
by genes. Here one cell is taken at a time, a row of a few kilobytes, and the loops over it take eight to sixteen genes
at once: exponential and logarithm are plain arithmetic, since a loop that calls a library's takes them one by one. All
of it runs without Python's lock, so that each core takes its own cells.

Everything stands in one module, since numba looks for changes in this file alone before it takes what it has compiled
before. The loops are several, since one that sees more arrays than these is taken gene by gene, lest they overlap.

Source: exponential and logarithm of the Cephes library (Moshier), each to about one unit in the last place.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from labeltransfer.models.fast.likelihood import EPS, TINY, Counts, Likelihood

# Sums may be taken in any order; numbers that are none stay so, for a loss must not hide them.
LOOP: dict[str, Any] = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy", "nogil": True}
EXACT: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}

Array = np.ndarray
F, INT = np.float32, np.int32
ZERO, HALF, ONE, EPS_, TINY_ = F(0), F(0.5), F(1), F(EPS), F(TINY)
LOG2_E, LN2_HIGH, LN2_LOW, ROOT_HALF = F(1.44269504), F(0.693359375), F(-2.12194440e-4), F(0.70710678)
HALF_LOG_2PI = F(0.91893853)


def zero_inflated(
    counts: Counts, scale_logits: Tensor, log_library: Tensor, log_theta: Tensor, dropout_logits: Tensor
) -> Likelihood:
    """Zero-inflated negative binomial with its gradients; arguments and result as of :func:`.likelihood.zero_inflated`.

    All tensors are single precision and in main memory.
    """
    shares = torch.softmax(scale_logits, dim=1, out=scale_logits)
    theta = log_theta.exp()
    by_theta = torch.zeros_like(theta)
    value = torch.empty(len(shares))
    _cells(
        counts.ends.numpy(),
        counts.columns.numpy(),
        counts.values.numpy(),
        log_library.exp().numpy()[:, 0],
        np.atleast_2d(theta.numpy()),
        shares.numpy(),
        dropout_logits.numpy(),
        np.atleast_2d(by_theta.numpy()),
        value.numpy(),
    )
    return Likelihood(value, shares, by_theta, dropout_logits)


def compiled_and_kept(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call and keep that for later processes, where there is a place to keep it."""
    try:
        return numba.njit(cache=True, **LOOP)(function)
    except RuntimeError:  # neither beside this file nor in the user's own folder: a second or two in each process
        return numba.njit(**LOOP)(function)


@numba.njit(**EXACT)
def _exp(x: Any) -> Any:
    x = F(88) if x > F(88) else x
    x = F(-87) if x < F(-87) else x
    n = np.floor(x * LOG2_E + HALF)
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = F(1.9875691500e-4) * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    power = INT(INT(INT(n) + INT(127)) << INT(23)).view(F)  # 2 ** n
    return (p * (r * r) + r + ONE) * power


@numba.njit(**EXACT)
def _log(x: Any) -> Any:
    bits = F(x).view(INT)
    n = F(INT(INT(bits >> INT(23)) - INT(126)))
    m = INT(INT(bits & INT(0x7FFFFF)) | INT(0x3F000000)).view(F)  # x = m * 2 ** n
    small = m < ROOT_HALF
    n = n - ONE if small else n
    m = m + m - ONE if small else m - ONE
    p = F(7.0376836292e-2) * m - F(1.1514610310e-1)
    p = p * m + F(1.1676998740e-1)
    p = p * m - F(1.2420140846e-1)
    p = p * m + F(1.4249322787e-1)
    p = p * m - F(1.6668057665e-1)
    p = p * m + F(2.0000714765e-1)
    p = p * m - F(2.4999993993e-1)
    p = p * m + F(3.3333331174e-1)
    square = m * m
    y = p * m * square + n * LN2_LOW - HALF * square
    return m + y + n * LN2_HIGH


@numba.njit(inline="always", **EXACT)
def _gamma(x: Any) -> Any:
    """Logarithm and logarithmic derivative of the gamma function: Stirling's series, from x + 8 where x is below 8."""
    small = x < F(8)
    u = x * (x + F(7))  # x (x + 7), and (x + 1) (x + 6) is u + 6, and so on
    product = u * (u + F(6)) * (u + F(10)) * (u + F(12))
    reciprocals = ONE / u + ONE / (u + F(6)) + ONE / (u + F(10)) + ONE / (u + F(12))
    less = _log(product) if small else ZERO
    slope_less = (x + x + F(7)) * reciprocals if small else ZERO
    y = x + F(8) if small else x
    inverse = ONE / y
    square = inverse * inverse
    log_y = _log(y)
    series = inverse * (F(1 / 12) - square * (F(1 / 360) - square * F(1 / 1260)))
    slope_series = HALF * inverse + square * (F(1 / 12) - square * (F(1 / 120) - square * F(1 / 252)))
    return (y - HALF) * log_y - y + HALF_LOG_2PI + series - less, log_y - slope_series - slope_less


@compiled_and_kept
def _cells(
    ends: Array,
    columns: Array,
    values: Array,
    library: Array,
    theta: Array,
    scale: Array,
    dropout: Array,
    by_theta: Array,
    value: Array,
) -> None:
    """Fill ``value``, add to ``by_theta``, and put the gradients in place of ``scale`` and ``dropout``.

    ``scale`` holds the shares of the genes in a cell, ``theta`` and ``by_theta`` have one row, or one a cell.
    """
    n_cells, n_genes = scale.shape
    mean, weight = np.empty(n_genes, F), np.empty(n_genes, F)
    begin = 0
    for cell in range(n_cells):
        of_theta = cell if len(theta) > 1 else 0
        own = columns[begin : ends[cell]]
        x = values[begin : ends[cell]]
        begin = ends[cell]
        for gene in range(n_genes):
            mean[gene] = scale[cell, gene] * library[cell]
            weight[gene] = ONE
        mean_at, theta_at, dropout_at = np.empty(len(own), F), np.empty(len(own), F), np.empty(len(own), F)
        for i in range(len(own)):
            gene = own[i]
            mean_at[i], theta_at[i], dropout_at[i] = mean[gene], theta[of_theta, gene], dropout[cell, gene]
            weight[gene] = ZERO
        counted, through = _counted(x, dropout_at, mean_at, theta_at)
        value[cell] = counted + _zeros(mean, theta[of_theta], dropout[cell], weight)
        through += _slopes(mean, theta[of_theta], weight, by_theta[of_theta], scale[cell])
        for i in range(len(own)):
            scale[cell, own[i]] = mean_at[i]
            by_theta[of_theta, own[i]] += theta_at[i]
        through /= library[cell]
        for gene in range(n_genes):
            scale[cell, gene] -= mean[gene] * through


@numba.njit(**LOOP)
def _counted(x: Array, dropout: Array, mean: Array, theta: Array) -> Any:
    """Sum of the counted genes' values and of their gradients by the mean, times the mean.

    The latter are put in place of ``mean``, and the gradients by log theta in place of ``theta``.
    """
    total, through = ZERO, ZERO
    for i in range(len(x)):
        m, t, d = mean[i], theta[i], dropout[i]
        inverse = ONE / (m + t + EPS_)
        share = t * inverse
        log_ratio = _log((t + EPS_) * inverse)
        above, slope_above = _gamma(x[i] + t)
        below, slope_below = _gamma(t)
        factorial, _ = _gamma(x[i] + ONE)
        log_kept = -(d if d > ZERO else ZERO) - _log(ONE + _exp(-abs(d)))
        total += above - below - factorial + x[i] * _log((m + EPS_) * inverse) + t * log_ratio + log_kept
        by_mean = x[i] * (m / (m + EPS_) - m * inverse) - share * m
        theta[i] = (log_ratio - share + t / (t + EPS_) + slope_above - slope_below - x[i] * inverse) * t
        mean[i] = by_mean
        through += by_mean
    return total, through


@numba.njit(**LOOP)
def _zeros(mean: Array, theta: Array, dropout: Array, weight: Array) -> Any:
    """Sum of the values of genes that were not counted, those of ``weight`` 1.

    The gradients by the dropout's logits, of all genes, are put in place of ``dropout``; the share of a zero that the
    negative binomial explains in place of ``weight``.
    """
    total = ZERO
    for gene in range(len(mean)):
        t, d = theta[gene], dropout[gene]
        zero = _exp(t * _log((t + EPS_) / (mean[gene] + t + EPS_)))
        odds = _exp(-abs(d))
        large = ONE / (ONE + odds)
        small = odds * large
        kept = small if d > ZERO else large
        dropped = large if d > ZERO else small
        explained = kept * zero
        probability = dropped + explained
        probability = TINY_ if probability < TINY_ else probability
        total += weight[gene] * _log(probability)
        explained = explained / probability * weight[gene]
        dropout[gene] = kept - explained - (ONE - weight[gene])
        weight[gene] = explained
    return total


@numba.njit(**LOOP)
def _slopes(mean: Array, theta: Array, weight: Array, by_theta: Array, by_mean: Array) -> Any:
    """Sum of the gradients by the mean, times the mean, of genes that were not counted; the gradients themselves."""
    through = ZERO
    for gene in range(len(mean)):
        m, t = mean[gene], theta[gene]
        inverse = ONE / (m + t + EPS_)
        share, log_ratio = t * inverse, _log((t + EPS_) * inverse)
        by_theta[gene] += (log_ratio - share + t / (t + EPS_)) * t * weight[gene]
        by_mean[gene] = -share * m * weight[gene]
        through += by_mean[gene]
    return through


@compiled_and_kept
def copy_rows(
    begins: Array, columns: Array, values: Array, ends: Array, own_rows: Array, own_columns: Array, own_values: Array
) -> None:
    """Copy rows of a sparse array, those that start at ``begins``, behind one another; they are to end at ``ends``."""
    place = 0
    for row in range(len(begins)):
        shift = begins[row] - place
        for i in range(place, ends[row]):
            own_rows[i] = row
            own_columns[i] = columns[i + shift]
            own_values[i] = values[i + shift]
        place = ends[row]
