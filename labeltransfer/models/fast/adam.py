"""scvi-tools' optimiser, without the import of torch's compiler."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

SETTINGS: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 0.01, "weight_decay": 1e-6}
"""scvi-tools' own; the first two are torch's defaults."""

KIND: dict[str, Any] = {"fused": True, "amsgrad": False, "maximize": False}


class Adam:
    """``torch.optim.Adam(fused=True)`` for parameters that all have a gradient in each step, or in none.

    ``torch.optim.Adam`` imports torch's compiler with its first step, for a name, which takes as long as ten epochs of
    a small training; the function that it calls does not.

    Source: Kingma and Ba, Adam: A method for stochastic optimization, ICLR 2015.

    Parameters
    ----------
    parameters
        What is trained, all on one device.
    lr
        Learning rate; may be changed between steps.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.lr = lr
        self._parameters = list(parameters)
        self._state = {p: (torch.zeros_like(p), torch.zeros_like(p), p.new_zeros(())) for p in self._parameters}

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters against their gradients, and take those away."""
        moved = [p for p in self._parameters if p.grad is not None]
        gradients = [p.grad for p in moved]
        means, squares, n_steps = map(list, zip(*(self._state[p] for p in moved), strict=True))
        adam(moved, gradients, means, squares, [], n_steps, lr=self.lr, **SETTINGS, **KIND)
        for p in moved:
            p.grad = None
