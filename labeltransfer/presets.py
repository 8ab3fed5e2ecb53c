"""Ready-made settings of the two trainings, and what the number of cells settles of what they leave open."""

from dataclasses import dataclass
from typing import Literal

from labeltransfer.params import IntegrateParams, Settings, TransferParams

PresetName = Literal["fast", "tutorial", "quick"]

DEFAULT_PRESET: PresetName = "fast"

PRESETS: dict[PresetName, dict[str, Settings]] = {
    "fast": {
        "integrate": IntegrateParams(
            loop="fast",
            budget="converge",
            n_epochs_kl_warmup=None,
            batch_size=None,
            lr=None,
            early_stopping=True,
            early_stopping_patience=5,
        ),
        "transfer": TransferParams(
            loop="fast", max_epochs=None, batch_size=None, lr=None, stratified_split=True, early_stopping=True
        ),
    },
    "tutorial": {"integrate": IntegrateParams(), "transfer": TransferParams()},
    "quick": {
        "integrate": IntegrateParams(loop="fast", budget="quick", n_epochs_kl_warmup=None, lr=2e-3),
        "transfer": TransferParams(loop="fast", max_epochs=10, stratified_split=True),
    },
}
"""Settings of the two training stages by preset name; everything else keeps its default."""

PRESET_HELP: dict[PresetName, str] = {
    "fast": "Trains until held-out cells no longer improve, in a training loop of our own that gives the same kind of "
    "model. Minutes on a laptop.",
    "tutorial": "The published settings in scvi-tools' own training loop: 400 epochs of scVI up to 20,000 cells, 20 "
    "of scANVI. Minutes on a GPU, about an hour for 16,000 cells on a laptop.",
    "quick": "15 to 40 epochs of scVI and 10 of scANVI, whether or not they suffice: a first look. "
    "Gives up the last bit of integration; rare labels and close sister types suffer first.",
}

BASE_BATCH, BASE_LR = 128, 2e-3
"""scvi-tools' own cells per step, and the learning rate that goes with them where it is left open."""

STEPS_PER_EPOCH = 30
"""Steps that an epoch is to have at the least before more cells are put into one."""


@dataclass(frozen=True)
class Pace:
    """How long and in what steps to train.

    ``kl_warmup`` epochs bring the weight of the KL term from 0 to 1. From epoch ``judged_from`` on, ``patience`` epochs
    in which the loss of the held-out cells falls by less than its share ``min_gain`` lower the learning rate,
    ``n_drops`` times, and then end the training; a patience of None trains for all ``max_epochs``.
    """

    max_epochs: int
    batch_size: int
    lr: float
    kl_warmup: int
    patience: int | None = None
    n_drops: int = 0
    min_gain: float = 1e-2
    judged_from: int = 0


def scvi_pace(params: IntegrateParams, *, n_cells: int) -> Pace:
    """Pace of the training of scVI on ``n_cells`` cells."""
    n_epochs = scvi_epochs(params, n_cells=n_cells)
    batch_size = params.batch_size or _batch_size(n_cells)
    kl_warmup = params.n_epochs_kl_warmup or max(1, min(n_epochs // 2, 20))
    return Pace(
        max_epochs=n_epochs,
        batch_size=batch_size,
        lr=params.lr or _lr(BASE_LR, batch_size),
        kl_warmup=kl_warmup,
        patience=params.early_stopping_patience if params.early_stopping else None,
        n_drops=1,
        min_gain=4e-3,
        judged_from=min(kl_warmup, n_epochs),  # until then the objective itself changes
    )


def scanvi_pace(params: TransferParams, *, n_cells: int) -> Pace:
    """Pace of the training of scANVI on ``n_cells`` cells; its KL term grows as slowly as in scvi-tools."""
    batch_size = params.batch_size or _batch_size(n_cells)
    return Pace(
        max_epochs=params.max_epochs or max(5, min(round(400_000 / n_cells), 20)),
        batch_size=batch_size,
        lr=params.lr or _lr(BASE_LR / 2, batch_size),
        kl_warmup=400,
        patience=params.early_stopping_patience if params.early_stopping else None,
    )


def scvi_epochs(params: IntegrateParams, *, n_cells: int) -> int:
    """Number of scVI epochs for ``n_cells`` cells, the most there may be where the training stops early.

    The full budget is scvi-tools' own heuristic (``get_max_epochs_heuristic``). The others keep the number of gradient
    steps useful for few cells and bounded for many.
    """
    if params.max_epochs is not None:
        return params.max_epochs
    if params.budget == "full":
        return max(1, min(round(20_000 / n_cells * 400), 400))
    if params.budget == "converge":
        return max(15, min(round(2_000_000 / n_cells), 120))
    return max(15, min(round(300_000 / n_cells), 40))


def _batch_size(n_cells: int) -> int:
    """Larger steps cost less a cell, but a model learns by steps: few cells keep the small ones of scvi-tools."""
    for size in (512, 256):
        if n_cells >= size * STEPS_PER_EPOCH:
            return size
    return BASE_BATCH


def _lr(base: float, batch_size: int) -> float:
    """Grows with the square root of the cells per step, as the noise of their mean gradient shrinks."""
    return base * (batch_size / BASE_BATCH) ** 0.5
