"""A pass through scvi-tools' hidden layers: cells with each label at once, and a dropout that costs next to nothing."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FINEST = 2**16
"""Rates of dropout are taken to one part in so many."""


def through(
    layers: Any,
    x: Tensor,
    *,
    covariate: Tensor | None = None,
    n_labels: int = 0,
    n_cells: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pass cells through layers that see their input and, beside it, nothing, one covariate or each label in turn.

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
        covariate = None  # scvi-tools gives no weights to a covariate that tells no cells apart
    for place, layer in enumerate(layers.fc_layers):
        for part in layer:
            if isinstance(part, nn.Linear) and n_labels and layers.inject_into_layer(place):
                of_input, of_label = part.weight[:, :-n_labels], part.weight[:, -n_labels:]
                h = F.linear(x, of_input, part.bias).view(-1, n_cells, part.out_features)
                x = (h + of_label.t().contiguous()[:, None]).view(-1, part.out_features)
            elif isinstance(part, nn.Linear) and covariate is not None and layers.inject_into_layer(place):
                x = part(torch.cat((x, covariate), dim=1))
            elif isinstance(part, nn.Dropout):
                x = dropped(x, part.p, generator=generator) if part.training and part.p else x
            elif part is not None:
                x = part(x)
    return x


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
