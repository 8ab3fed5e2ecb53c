"""Ready-made settings of the two trainings, and what follows from the number of cells where they leave it open."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from labeltransfer.params import IntegrateParams, PanelParams, Params, TransferParams

PresetName = Literal["fast", "tutorial", "quick", "atlas"]

DEFAULT_PRESET: PresetName = "fast"

_FAST_SCVI = IntegrateParams(
    loop="fast",
    budget="converge",
    n_epochs_kl_warmup=None,
    batch_size=None,
    lr=None,
    early_stopping=True,
    early_stopping_patience=5,
)
_FAST_SCANVI = TransferParams(
    loop="fast", max_epochs=None, batch_size=None, lr=None, stratified_split=True, early_stopping=True
)

PRESETS: dict[PresetName, dict[str, Params]] = {
    "fast": {"integrate": _FAST_SCVI, "transfer": _FAST_SCANVI, "panel": PanelParams()},
    "tutorial": {
        "integrate": IntegrateParams(),
        "transfer": TransferParams(),
        "panel": PanelParams(answer="scanvi"),
    },
    "quick": {
        "integrate": IntegrateParams(loop="fast", budget="quick", n_epochs_kl_warmup=None, lr=2e-3),
        "transfer": TransferParams(loop="fast", max_epochs=10, stratified_split=True),
        "panel": PanelParams(),
    },
    "atlas": {
        "integrate": _FAST_SCVI.model_copy(update={"for_mapping": True, "n_layers": 2, "dropout_rate": 0.2}),
        "transfer": _FAST_SCANVI,
        "panel": PanelParams(),
    },
}
"""Settings of the two trainings, and whose label is handed out, by preset; everything else keeps its default."""

PRESET_HELP: dict[PresetName, str] = {
    "fast": "Trains until held-out cells no longer improve, in a training loop of our own that gives the same kind of "
    "model. Minutes on a laptop.",
    "tutorial": "The published settings in scvi-tools' own training loop: 400 epochs of scVI up to 20,000 cells, 20 "
    "of scANVI, whose label is handed out. Minutes on a GPU, about an hour for 16,000 cells on a laptop.",
    "quick": "15 to 40 epochs of scVI and 10 of scANVI, whether or not they suffice: a first look. "
    "Gives up the last bit of integration; rare labels and close cell types suffer first.",
    "atlas": "Fast, in the architecture of scArches: for a reference that is to be published, so that later queries "
    "are mapped onto it without training it again.",
}

FOR_MAPPING: dict[str, Any] = {"use_layer_norm": "both", "use_batch_norm": "none", "encode_covariates": True}
"""What makes a model fit to map queries onto, by scvi-tools' tutorial of reference mapping. The last is essential: only
weights of new batches learn in a mapping, and without it the encoder has none."""

BASE_BATCH, BASE_LR = 128, 2e-3
"""scvi-tools' own cells per step, and the learning rate that goes with them where it is left open."""

SCANVI_STEPS = 150
"""Steps that scANVI takes at the least, so that rare labels are learnt too."""

MOST_MAPPING_EPOCHS, MAPPED_CELLS, MAPPING_LR = 50, 1_000_000, 2e-2
"""Epochs of a mapping, how many cells it may pass over in all, and its learning rate.

Only the weights of a few batches learn. On some hundred cells they hardly move from where they begin in 100 epochs at
2e-3, and scvi-tools' own rate is half of that; larger steps label more cells right, in half the time.
"""

SCVI_STEPS_PER_EPOCH, STEPS_PER_EPOCH = 120, 30
"""Steps that an epoch of scVI, or of another training, is to have at the least before more cells are put into one.

On 17,000 simulated cells of the tutorial, scVI in steps of 512 reached a better held-out ELBO than 400 epochs of
scvi-tools, but brought the two technologies together less well: 1 to 2 % of the query got another label than was
observed, in steps of 128 some 0.2 %.
"""


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
    batch_size = params.batch_size or _batch_size(n_cells, steps_per_epoch=SCVI_STEPS_PER_EPOCH)
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
    n_epochs = params.max_epochs or max(5, min(round(400_000 / n_cells), 20))
    return Pace(
        max_epochs=n_epochs,
        batch_size=batch_size,
        lr=params.lr or _lr(BASE_LR / 2, batch_size),
        kl_warmup=400,
        patience=params.early_stopping_patience if params.early_stopping else None,
        # The held-out cells of a rare label are too few to show that it is not learnt yet.
        judged_from=min(n_epochs, ceil(SCANVI_STEPS * batch_size / n_cells)),
    )


def mapping_pace(max_epochs: int | None, *, n_cells: int) -> Pace:
    """Pace of mapping ``n_cells`` query cells onto a published scANVI; its KL term grows as slowly as in scvi-tools."""
    return Pace(
        max_epochs=max_epochs or max(10, min(round(MAPPED_CELLS / n_cells), MOST_MAPPING_EPOCHS)),
        batch_size=_batch_size(n_cells),
        lr=MAPPING_LR,
        kl_warmup=400,
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


def _batch_size(n_cells: int, *, steps_per_epoch: int = STEPS_PER_EPOCH) -> int:
    """Larger steps cost less a cell, but a model learns by steps: few cells keep the small ones of scvi-tools."""
    for size in (512, 256):
        if n_cells >= size * steps_per_epoch:
            return size
    return BASE_BATCH


def _lr(base: float, batch_size: int) -> float:
    """Grows with the square root of the cells per step, as the noise of their mean gradient shrinks."""
    return base * (batch_size / BASE_BATCH) ** 0.5
