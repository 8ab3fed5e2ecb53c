"""What the fast loop trains: scVI on all cells; scANVI on all cells and, in each step, on labelled ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.loop import shuffled_steps
from labeltransfer.models.fast.objective import classification_loss, scanvi_loss, scvi_terms


class ScviTask:
    """scVI, evaluated by the evidence lower bound of the held-out cells with the KL term at full weight.

    Parameters
    ----------
    module
        Module of a scvi-tools model.
    cells
        Its cells.
    training, held_out
        Row numbers of the cells to train on and of those to evaluate on.
    """

    def __init__(self, module: Any, cells: DeviceCounts, training: np.ndarray, held_out: np.ndarray) -> None:
        self.module, self.cells = module, cells
        self.training, self._held_out = training, torch.from_numpy(held_out)

    def begin_epoch(self, *, batch_size: int) -> None:
        """Nothing is drawn once an epoch."""

    def loss(self, rows: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
        loss = scvi_terms(self.module, self.cells.take(rows)).loss(kl_weight)
        return loss, loss

    def held_out(self, *, batch_size: int) -> float:
        return negative_elbo(self.module, self.cells, self._held_out, batch_size=batch_size)


class ScanviTask:
    """scANVI, evaluated by the classification loss of the held-out labelled cells.

    Parameters
    ----------
    module
        Module of a scvi-tools model.
    cells
        Its cells; the code of those without a label is the number of labels.
    training, held_out
        Row numbers of the cells to train on and of those to evaluate on.
    n_samples_per_label
        Labelled cells drawn from each label in each epoch; None takes all.
    """

    def __init__(
        self,
        module: Any,
        cells: DeviceCounts,
        training: np.ndarray,
        held_out: np.ndarray,
        *,
        n_samples_per_label: int | None,
    ) -> None:
        self.module, self.cells, self.training = module, cells, training
        codes = cells.labels.cpu().numpy()
        self._by_label = [training[codes[training] == label] for label in range(module.n_labels)]
        self._n_samples = n_samples_per_label
        self._held_out = torch.from_numpy(held_out[codes[held_out] < module.n_labels])
        self._steps: list[Tensor] = []
        self._n_steps = 0
        # Seeded by torch's own, so that one seed still determines everything.
        self._generator = torch.Generator(cells.labels.device).manual_seed(int(torch.randint(2**62, ())))

    def begin_epoch(self, *, batch_size: int) -> None:
        """Draw the labelled cells of this epoch."""
        drawn = np.concatenate([self._draw(rows) for rows in self._by_label])
        self._steps, self._n_steps = shuffled_steps(drawn, batch_size), 0

    def _draw(self, rows: np.ndarray) -> np.ndarray:
        if self._n_samples is None or len(rows) <= self._n_samples:
            return rows
        return np.random.choice(rows, self._n_samples, replace=False)

    def loss(self, rows: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
        # As in scvi-tools the labelled cells start over when they are used up before the others are.
        labelled = self._steps[self._n_steps % len(self._steps)]
        self._n_steps += 1
        cells = self.cells.take(rows)
        return scanvi_loss(self.module, cells, lambda: self.cells.take(labelled), kl_weight, generator=self._generator)

    def held_out(self, *, batch_size: int) -> float:
        if not len(self._held_out):
            return float("nan")
        total = 0.0
        with torch.no_grad():
            for rows in self._held_out.split(batch_size):
                total += float(classification_loss(self.module, self.cells.take(rows))) * len(rows)
        return total / len(self._held_out)


def negative_elbo(module: Any, cells: DeviceCounts, rows: Tensor, *, batch_size: int = 1024) -> float:
    """Negative evidence lower bound per cell of some cells; NaN where there are none.

    The latent is drawn with the same random numbers at each call, so that two values differ by their weights alone.
    """
    if not len(rows):  # torch splits nothing into one part that is empty
        return float("nan")
    total = 0.0
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(0)
        for part in rows.split(batch_size):
            terms = scvi_terms(module, cells.take(part))
            total += float(terms.loss()) * len(part)
    return total / len(rows)
