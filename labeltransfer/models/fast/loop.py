"""The fast training loop: scvi-tools' modules and objectives without its loader, trainer and per-step bookkeeping.

The counts stay in memory as tensors, a step is one forward and one backward pass, and nothing in a step waits for the
device. The loop knows when to stop: it watches held-out cells, lowers the learning rate where they no longer improve,
ends where that no longer helps, and keeps the best weights.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from labeltransfer.errors import RunError
from labeltransfer.models.fast.adam import Adam
from labeltransfer.models.progress import Epoch, Stopped
from labeltransfer.presets import Pace

SMALL = 0.1
"""A loss below this is as good as this: a classification that is right to 0.1 nats gains nothing by a share of it."""

LR_FACTOR = 0.3
"""What the learning rate is multiplied by where the held-out cells no longer improve."""


class Task(Protocol):
    """What is trained, and by what it is judged."""

    module: Any
    training: np.ndarray
    """Row numbers of the cells to train on, shape (n_training,)."""

    def begin_epoch(self, *, batch_size: int) -> None:
        """Draw what is drawn once an epoch."""

    def loss(self, rows: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
        """What a step over some cells minimises, and the part of it that is shown: two scalars."""

    def held_out(self, *, batch_size: int) -> float:
        """The shown part over the cells that are not trained on; NaN where there are none."""


def train(
    task: Task,
    pace: Pace,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_batch: Callable[[float], None] | None = None,
) -> Stopped:
    """Train a module in place; it ends with the weights of its best epoch and in evaluation mode.

    Random numbers come from torch's and NumPy's global generators, which the caller seeds.

    Parameters
    ----------
    task
        What to train.
    pace
        How long.
    on_epoch
        Called after each epoch.
    on_batch
        Called before each step with the share of the training done; what it raises ends the training.

    Raises
    ------
    RunError
        The loss is no longer a number.
    """
    n_threads = torch.get_num_threads()
    # The cores share a step among them in ``decoder``; torch's own threads would have to synchronise at each operation.
    torch.set_num_threads(1)
    # Numbers below 1e-38 are as good as 0 here, and take a processor a hundred times as long.
    torch.set_flush_denormal(True)
    try:
        return _train(task, pace, on_epoch, on_batch)
    finally:
        torch.set_num_threads(n_threads)
        torch.set_flush_denormal(False)


def _train(
    task: Task,
    pace: Pace,
    on_epoch: Callable[[Epoch], None] | None,
    on_batch: Callable[[float], None] | None,
) -> Stopped:
    module = task.module
    optimizer = Adam((p for p in module.parameters() if p.requires_grad), pace.lr)
    plateau = Plateau(pace)
    epoch = 0
    while epoch < pace.max_epochs:
        began = time.perf_counter()
        kl_weight = min(1.0, epoch / pace.kl_warmup)
        shown_sum = torch.zeros((), device=module.device)
        task.begin_epoch(batch_size=pace.batch_size)
        steps = shuffled_steps(task.training, pace.batch_size)
        module.train()
        for number, rows in enumerate(steps):
            if on_batch:
                on_batch((epoch + number / len(steps)) / pace.max_epochs)
            loss, shown = task.loss(rows, kl_weight)
            loss.backward()
            optimizer.step()
            shown_sum += shown.detach() * len(rows)
        module.eval()
        epoch += 1
        train_loss, validation_loss = float(shown_sum) / len(task.training), task.held_out(batch_size=1024)
        if not np.isfinite(train_loss):
            raise RunError(f"The loss is no number any more in epoch {epoch}: lower the learning rate and start again.")
        if on_epoch:
            seconds = time.perf_counter() - began
            on_epoch(Epoch(epoch, pace.max_epochs, train_loss, _finite_or_none(validation_loss), seconds))
        if plateau.see(epoch, validation_loss, module, optimizer):
            break
    return plateau.finish(module, epoch)


class Plateau:
    """Watches the held-out cells; lowers the learning rate, ends the training, keeps the best weights."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._best, self._best_epoch = np.inf, 0
        self._weights: dict[str, Tensor] = {}
        self._bar = np.inf  # what counts as an improvement
        self._since = 0  # epochs since the last one
        self._n_drops = 0
        self._converged = False

    def see(self, epoch: int, loss: float, module: Any, optimizer: Adam) -> bool:
        """Take in the held-out loss of an epoch, counted from 1; returns whether the training is to end."""
        pace = self.pace
        if pace.patience is None or epoch < pace.judged_from or not np.isfinite(loss):
            return False
        if loss < self._best:
            self._best, self._best_epoch = loss, epoch
            self._weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        self._since += 1
        if loss < self._bar:
            self._bar, self._since = loss - pace.min_gain * max(abs(loss), SMALL), 0
        if self._since < pace.patience:
            return False
        if self._n_drops == pace.n_drops:
            self._converged = True
            return True
        self._n_drops, self._since = self._n_drops + 1, 0
        optimizer.lr *= LR_FACTOR
        return False

    def finish(self, module: Any, n_epochs: int) -> Stopped:
        """Give the module its best weights and say how the training ended."""
        if self._weights:
            module.load_state_dict(self._weights)
        return Stopped(n_epochs, self._best_epoch or n_epochs, self._converged)


def shuffled_steps(rows: np.ndarray, batch_size: int) -> list[Tensor]:
    """Row numbers in random order, in steps of at most ``batch_size`` cells and nearly equal size.

    So no step is left with the one cell that batch normalisation cannot take.
    """
    order = torch.from_numpy(rows)[torch.randperm(len(rows))]
    return list(torch.tensor_split(order, -(-len(rows) // batch_size)))


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
