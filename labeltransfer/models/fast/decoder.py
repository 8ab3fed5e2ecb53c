"""The decoder's last layers with the likelihood of the counts: some cells at a time, and several at once.

Most of a training step is spent here: two layers as wide as there are genes, and a dozen operations on each of their
outputs. Taken for a few dozen cells at a time, all of that stays in a processor's own cache; and since no cell depends
on another from here on, each core takes its own cells. The cores synchronise once a step; torch's own
threads do so at each operation, which slows a step down wherever a core is busy with something else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from labeltransfer.models.fast import compiled
from labeltransfer.models.fast.likelihood import Counts, Likelihood, negative_binomial, poisson, zero_inflated
from labeltransfer.models.fast.parallel import Offloaded, n_cores, ready

BLOCK = 64
"""Cells at a time: with 2,000 genes half a megabyte an array."""


def negative_log_likelihood(
    module: Any, hidden: Tensor, counts: Counts, log_library: Tensor, log_theta: Tensor, *, n_busy: int = 0
) -> Tensor:
    """Mean over cells of the negative log-likelihood of their counts, a differentiable scalar.

    Parameters
    ----------
    module
        scVI's or scANVI's module: its ``gene_likelihood`` and the last layers of its decoder.
    hidden
        What goes into those layers, shape (n_cells, n_hidden).
    counts, log_library, log_theta
        As for :func:`.likelihood.zero_inflated`.
    n_busy
        Cores that are busy with other work and take no cells.
    """
    decoder = module.decoder
    layers = [decoder.px_scale_decoder[0], *([decoder.px_dropout_decoder] if module.gene_likelihood == "zinb" else [])]
    weights = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    wanted = torch.is_grad_enabled()
    n_free = max(1, n_cores() - n_busy)
    return _OutputLayers.apply(module.gene_likelihood, wanted, n_free, counts, hidden, log_library, log_theta, *weights)


@dataclass
class _Share:
    """Result of one core: the sum of its values and the sums of its gradients."""

    value: Tensor
    by_weights: list[Tensor] = field(default_factory=list)
    by_theta: Tensor | None = None

    def add(self, gradients: list[Tensor], hidden: Tensor, by_theta: Tensor | None) -> None:
        """Add the results of a block of cells: its gradients by the layers' outputs, and by a theta of each gene."""
        if not self.by_weights:  # the first block's are the sums, which so need not be filled with zeros
            self.by_weights = [part for grad in gradients for part in (torch.mm(grad.t(), hidden), grad.sum(0))]
            self.by_theta = by_theta
            return
        for grad, weight, bias in zip(gradients, self.by_weights[::2], self.by_weights[1::2], strict=True):
            weight.addmm_(grad.t(), hidden)
            bias += grad.sum(0)
        if self.by_theta is not None and by_theta is not None:
            self.by_theta += by_theta


class _OutputLayers(torch.autograd.Function):
    """The last layers and the likelihood in one operation, whose gradients are ready after its forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        with_gradients: bool,
        n_free: int,
        counts: Counts,
        hidden: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        n_cells = len(hidden)
        factor = -1 / n_cells
        by_hidden = torch.empty_like(hidden)
        each_cell = log_theta.ndim == 2
        by_theta = torch.zeros_like(log_theta)

        def work(first: int, stop: int) -> _Share:
            """The cells of one core, block by block."""
            share = _Share(hidden.new_zeros(()))
            size = BLOCK if hidden.device.type == "cpu" else stop - first
            for begin in range(first, stop, size):
                end = min(begin + size, stop)
                block = counts if (begin, end) == (0, n_cells) else counts.of_rows(begin, end)
                theta = log_theta[begin:end] if each_cell else log_theta
                h = hidden[begin:end]
                found = _likelihood(kind, block, h, log_library[begin:end], theta, weights, with_gradients)
                share.value += found.value.sum()
                if not with_gradients:
                    continue
                gradients = [g for g in (found.by_scale, found.by_dropout) if g is not None]
                torch.mm(gradients[0], weights[0], out=by_hidden[begin:end])
                for grad, weight in zip(gradients[1:], weights[2::2], strict=True):
                    by_hidden[begin:end].addmm_(grad, weight)
                share.add(gradients, h * factor, None if each_cell else found.by_theta)
                if each_cell and found.by_theta is not None:
                    by_theta[begin:end] = found.by_theta
            return share

        shares = _by_core(work, n_cells, n_free=n_free if hidden.device.type == "cpu" else 1)
        if with_gradients:
            sums = [reduce(Tensor.add_, parts) for parts in zip(*(share.by_weights for share in shares), strict=True)]
            if not each_cell:
                by_theta = sum((share.by_theta for share in shares if share.by_theta is not None), by_theta)
            for summed in (by_hidden, by_theta, *sums[1::2]):  # the others are made from cells that were weighed before
                summed.mul_(factor)
            ctx.save_for_backward(by_hidden, by_theta, *sums)
            ctx.has_theta = kind != "poisson"
        return sum((share.value for share in shares[1:]), shares[0].value) * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        by_hidden, by_theta, *by_weights = ready(ctx.saved_tensors, grad)
        return None, None, None, None, by_hidden, None, by_theta if ctx.has_theta else None, *by_weights


def _likelihood(
    kind: str,
    counts: Counts,
    hidden: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    weights: tuple[Tensor, ...],
    with_gradients: bool,
) -> Likelihood:
    """Likelihood of some cells from what goes into the last layers."""
    logits = [torch.addmm(weights[i + 1], hidden, weights[i].t()) for i in range(0, len(weights), 2)]
    if kind == "zinb" and hidden.device.type == "cpu":
        return compiled.zero_inflated(counts, logits[0], log_library, log_theta, logits[1])
    if kind == "zinb":
        return zero_inflated(counts, logits[0], log_library, log_theta, logits[1], with_gradients=with_gradients)
    if kind == "nb":
        return negative_binomial(counts, logits[0], log_library, log_theta, with_gradients=with_gradients)
    return poisson(counts, logits[0], log_library, with_gradients=with_gradients)


def _by_core(work: Callable[[int, int], _Share], n_cells: int, *, n_free: int) -> list[_Share]:
    """Give each core a run of the cells; the order of their results is always the same."""
    n_shares = min(n_free, max(1, n_cells // (BLOCK // 2)))
    if n_shares == 1:
        return [work(0, n_cells)]
    bounds = [n_cells * i // n_shares for i in range(n_shares + 1)]
    others = [Offloaded(_without_gradients, work, *bounds[i : i + 2]) for i in range(1, n_shares)]
    return [work(*bounds[:2]), *(other.result() for other in others)]


def _without_gradients(work: Callable[[int, int], _Share], first: int, stop: int) -> _Share:
    with torch.no_grad():  # each thread has its own setting
        return work(first, stop)
