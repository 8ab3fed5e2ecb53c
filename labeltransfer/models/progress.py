"""What lets a training say how far it is, and be stopped: a Lightning callback, which the fast loop calls too."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: losses per cell, wall-clock seconds."""

    epoch: int
    n_epochs: int
    train_loss: float | None
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True)
class Stopped:
    """How a training ended.

    After ``n_epochs``, with the weights of ``best_epoch``; ``converged`` where the held-out cells no longer improved,
    else all epochs that there were to be were used.
    """

    n_epochs: int
    best_epoch: int
    converged: bool


class ProgressCallback(Callback):
    """Tells of every batch and every epoch, and leaves no trace in the training.

    The validation that it watches draws random numbers, which would change every later epoch; it is made to give them
    back, so that a training under this callback equals, to the last bit, the same one without validation.

    Parameters
    ----------
    on_epoch
        Called after each epoch.
    on_batch
        Called before each batch, of training and of validation, with the share of the training done, in [0, 1].
        Whatever it raises ends the training at once, which is how a run is cancelled. Lightning's own ``should_stop``
        would end it as if it had finished: scvi-tools then marks the model as trained.
    on_stop
        Called by the fast loop at its end.
    """

    def __init__(
        self,
        on_epoch: Callable[[Epoch], None],
        on_batch: Callable[[float], None],
        on_stop: Callable[[Stopped], None] = lambda stopped: None,
    ) -> None:
        self.on_epoch = on_epoch
        self.on_batch = on_batch
        self.on_stop = on_stop
        self._began = time.perf_counter()
        self._random_state: tuple[Any, ...] | None = None

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        within = batch_idx / max(1, trainer.num_training_batches)
        self.on_batch((trainer.current_epoch + within) / max(1, trainer.max_epochs))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 >= trainer.num_training_batches:  # the validation comes next
            self._random_state = (torch.get_rng_state(), torch.cuda.get_rng_state_all(), np.random.get_state())

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.on_batch((trainer.current_epoch + 1) / max(1, trainer.max_epochs))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self._random_state is not None:
            torch.set_rng_state(self._random_state[0])
            torch.cuda.set_rng_state_all(self._random_state[1])
            np.random.set_state(self._random_state[2])
        metrics = trainer.callback_metrics

        def value(*names: str) -> float | None:
            return next((float(metrics[n]) for n in names if n in metrics), None)

        self.on_epoch(
            Epoch(
                epoch=trainer.current_epoch + 1,
                n_epochs=trainer.max_epochs,
                train_loss=value("train_loss_epoch", "train_loss"),
                validation_loss=value("validation_loss"),
                seconds=time.perf_counter() - self._began,
            )
        )
