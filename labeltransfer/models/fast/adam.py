"""scvi-tools' optimiser, without what it costs on a processor to look at each parameter again in each step."""

from collections.abc import Iterable

import torch
from torch import Tensor

SETTINGS = {"beta1": 0.9, "beta2": 0.999, "eps": 0.01, "weight_decay": 1e-6, "amsgrad": False, "maximize": False}
"""scvi-tools' own; the first two are torch's defaults."""


class Adam:
    """``torch.optim.Adam(fused=True)`` for parameters that all have a gradient in each step, or in none.

    ``torch.optim`` sorts the parameters, counts steps for each and asks for hooks: a third of its time where the
    parameters are dozens and small, as here.

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
        self._moments = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in self._parameters}
        self._n_steps = torch.zeros((), device=self._parameters[0].device)

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters against their gradients, and take those away."""
        moved = [p for p in self._parameters if p.grad is not None]
        gradients = [p.grad for p in moved]
        means, squares = zip(*(self._moments[p] for p in moved), strict=True)
        n_steps = [self._n_steps.add_(1)] * len(moved)
        torch._fused_adam_(moved, gradients, means, squares, [], n_steps, lr=self.lr, **SETTINGS)
        for p in moved:
            p.grad = None
