"""Which of torch's two libraries multiplies matrices on this processor.

In single precision torch asks Intel's MKL. On processors of other makers MKL leaves half of the vector unit idle, where
oneDNN, which torch carries as well, takes it whole: the same products in half the time. torch asks oneDNN once it is
allowed half precision, and oneDNN computes in half precision only where there is a matrix unit for it, so whether the
result is still single precision has to be seen, as has which of the two is faster.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

SHAPE = (64, 128, 2000)
"""Cells, units and genes of the product that is tried: the decoder's last layer."""

N_TRIALS = 15
MIN_GAIN = 1.2
"""How many times as fast oneDNN has to be, so that chance does not choose."""

TOLERANCE = 1e-5
"""Largest difference, as a share of the largest entry; half precision has 4e-3."""


@contextmanager
def faster_products() -> Iterator[None]:
    """Multiply matrices on the processor by whichever library is faster here, in single precision either way."""
    if not onednn_pays():
        yield
        return
    with _onednn():
        yield


@cache
def onednn_pays() -> bool:
    """Whether oneDNN is clearly faster than MKL on this processor and as exact; takes some 10 ms."""
    if not torch.backends.mkldnn.is_available():
        return False
    n_cells, n_units, n_genes = SHAPE
    generator = torch.Generator().manual_seed(0)  # torch's own random numbers are the training's
    cells = torch.randn(n_cells, n_units, generator=generator)
    weight = torch.randn(n_genes, n_units, generator=generator)
    by_mkl, mkl_seconds = _tried(cells, weight)
    with _onednn():
        by_onednn, onednn_seconds = _tried(cells, weight)
    exact = torch.allclose(by_mkl, by_onednn, rtol=0, atol=TOLERANCE * float(by_mkl.abs().max()))
    return exact and mkl_seconds > MIN_GAIN * onednn_seconds


@contextmanager
def _onednn() -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _tried(cells: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """The product of the two, and the shortest time that it took in seconds."""
    seconds = []
    for _ in range(N_TRIALS):
        began = time.perf_counter()
        product = cells @ weight.t()
        seconds.append(time.perf_counter() - began)
    return product, min(seconds)
