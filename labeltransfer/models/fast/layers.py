"""A pass through scvi-tools' hidden layers: cells with each label at once, and a quick dropout."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FINEST = 2**16
"""Rates of dropout are taken to one part in so many."""


def apply_layers(
    layers: Any,
    x: Tensor,
    *,
    covariate: Tensor | None = None,
    n_labels: int = 0,
    n_cells: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pass cells through layers that see their input alone, or with it one covariate or each label in turn.

    A layer's weights fall into those of its input and those of the one-hot label. The first part is the same for all
    labels as long as the input is, and the second is one column of the weights a label.

    Parameters
    ----------
    layers
        ``FCLayers`` of scvi-tools, with at most one covariate.
    x
        Shape (n_cells, n_in), or (n_labels * n_cells, n_in) label by label.
    covariate
        One column a category with a 1 in the cell's own, shape (n_cells, n_categories).
    n_labels, n_cells
        Number of labels, 0 for layers that see none, and of cells.
    generator
        Where dropout's random numbers come from; None is torch's own.

    Returns
    -------
    Tensor of shape (n_cells, n_out), or (n_labels * n_cells, n_out) label by label.
    """
    if covariate is not None and covariate.shape[1] == 1:
        covariate = None  # scvi-tools gives no weights to a covariate with one value
    for place, layer in enumerate(layers.fc_layers):
        linear, *rest = (part for part in layer if part is not None)
        injected = layers.inject_into_layer(place)
        if injected and n_labels:
            of_label = linear.weight[:, -n_labels:].t() + linear.bias
            x = _WithLabels.apply(x, linear.weight[:, :-n_labels], of_label, n_cells)
        else:
            x = linear(x if covariate is None or not injected else torch.cat((x, covariate), dim=1))
        for part in rest:
            drops = isinstance(part, nn.Dropout) and part.training and part.p
            x = dropped(x, part.p, generator=generator) if drops else part(x)
    return x


class _WithLabels(torch.autograd.Function):
    """A matrix product for cells whose input differs by label or not, and what each label adds to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, of_label: Tensor, n_cells: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.n_cells = n_cells
        h = torch.mm(x, weight.t()).view(-1, n_cells, len(weight))
        each = of_label.contiguous()[:, None]
        return (h + each if len(x) == n_cells else h.add_(each)).view(-1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        by_label = grad.view(-1, ctx.n_cells, len(weight))
        of_label = by_label.sum(1)
        if len(x) == ctx.n_cells:
            grad = by_label.sum(0)
        return torch.mm(grad, weight), torch.mm(grad.t(), x), of_label, None


def apply_pair(first: nn.Linear, second: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Two linear layers of one input, in one matrix product."""
    weight, bias = torch.cat((first.weight, second.weight)), torch.cat((first.bias, second.bias))
    one, other = F.linear(x, weight, bias).split((first.out_features, second.out_features), dim=1)
    return one, other


def dropped(x: Tensor, rate: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Dropout, with the rate taken to one part in ``FINEST``.

    torch draws a number of 32 bits an entry, and on a processor slowly; 16 bits will do, and one draw holds four.
    """
    n_dropped = round(rate * FINEST)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    kept = torch.empty_like(x)
    torch.ge(draws.view(torch.int16)[: x.numel()].view(x.shape), n_dropped - FINEST // 2, out=kept)
    return x * kept.mul_(FINEST / (FINEST - n_dropped))
