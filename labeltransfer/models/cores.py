"""The other cores of the machine: a step's work that one of them can do meanwhile."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from labeltransfer import processes

MOST_CORES = 8
"""Beyond these the rest of a step takes longer than what they save."""


def n_cores() -> int:
    """How many cores share a step."""
    return min(processes.n_cores(), MOST_CORES)


@cache
def pool() -> ThreadPoolExecutor:
    """Threads for the cores but the caller's own."""
    return ThreadPoolExecutor(n_cores() - 1, "cores", initializer=_begin_thread)


def _begin_thread() -> None:
    """What ``speed.train`` sets for its own thread: to the last bit, a call then gives the same wherever it is made."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


class Aside:
    """A call that another core takes, or this one in the end, where no other has had the time for it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> None:
        self._call = partial(function, *arguments, **settings)
        self._future: Future[Any] = pool().submit(self._call)

    def result(self) -> Any:
        return self._call() if self._future.cancel() else self._future.result()


def differentiated_aside(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], modules: Sequence[nn.Module]
) -> Tensor:
    """A scalar whose gradients another core begins to compute at once, and the backward pass only fetches.

    Parameters
    ----------
    function
        Makes the scalar from ``inputs`` and the parameters of ``modules``.
    inputs
        Tensors on one device that it may be differentiated by, beside those parameters.
    modules
        All that ``function`` uses.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    if n_cores() == 1 or not torch.is_grad_enabled() or parameters[0].device.type != "cpu":
        return function(*inputs)
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    value = function(*leaves)
    gradients = Aside(torch.autograd.grad, value, [*leaves, *parameters], allow_unused=True)
    found: Tensor = _Differentiated.apply(gradients, value.detach(), *inputs, *parameters)
    return found


class _Differentiated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradients: Aside, value: Tensor, *differentiated_by: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return None, None, *(g if g is None else g.mul_(grad) for g in ctx.gradients.result())
