"""Parts of a training step on other cores of the machine, at the same time as the rest of it."""

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
    """One thread for each core but the caller's."""
    return ThreadPoolExecutor(n_cores() - 1, "cores", initializer=_begin_thread)


def _begin_thread() -> None:
    """Set what ``loop.train`` sets for its thread, so that a call gives the same bits in each thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


class Offloaded:
    """A call that another core makes; if none has begun it when its result is needed, the caller makes it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> None:
        self._call = partial(function, *arguments, **settings)
        self._future: Future[Any] = pool().submit(self._call)

    def result(self) -> Any:
        return self._call() if self._future.cancel() else self._future.result()


class OffloadedLoss:
    """A scalar and its gradients, which another core computes.

    Parameters
    ----------
    function
        Makes the scalar from ``inputs`` and the parameters of ``modules``. It may run at the same time as others, so it
        needs its own random numbers.
    inputs
        Tensors that it may be differentiated by, besides those parameters.
    modules
        All that ``function`` uses, on the processor; for a model on another device it is called at once.
    """

    def __init__(self, function: Callable[..., Tensor], inputs: Sequence[Tensor], modules: Sequence[nn.Module]) -> None:
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._by = [*inputs, *parameters]
        self._offloaded: Offloaded | None = None
        if n_cores() == 1 or not torch.is_grad_enabled() or parameters[0].device.type != "cpu":
            self._value = function(*inputs)
        else:
            leaves = [tensor.detach().requires_grad_() for tensor in inputs]
            self._offloaded = Offloaded(_differentiate, function, leaves, parameters)

    def value(self) -> Tensor:
        """The scalar; a backward pass from it finds the gradients ready."""
        if self._offloaded:
            value, gradients = self._offloaded.result()
            self._value = _Ready.apply(gradients, value, *self._by)
        return self._value


def _differentiate(
    function: Callable[..., Tensor], leaves: list[Tensor], parameters: list[Tensor]
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    value = function(*leaves)
    return value.detach(), torch.autograd.grad(value, [*leaves, *parameters], allow_unused=True)


class _Ready(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradients: tuple[Tensor | None, ...], value: Tensor, *differentiated_by: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        gradients, ctx.gradients = ctx.gradients, ()  # held no longer, so that no copy of them is needed
        return None, None, *ready(gradients, grad)


def ready(gradients: Sequence[Tensor | None], grad: Tensor) -> Sequence[Tensor | None]:
    """Gradients that were computed ahead, times that of what comes after them; in most cases that is 1."""
    if grad.device.type == "cpu" and grad == 1:  # a GPU would have to be waited for
        return gradients
    return [g if g is None else g.mul_(grad) for g in gradients]
