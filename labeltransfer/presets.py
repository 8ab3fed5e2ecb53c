"""Ready-made settings of the two trainings, and how many epochs a budget gives."""

from typing import Literal

from labeltransfer.params import IntegrateParams, Settings, TransferParams

PresetName = Literal["tutorial", "quick"]

PRESETS: dict[PresetName, dict[str, Settings]] = {
    "tutorial": {"integrate": IntegrateParams(), "transfer": TransferParams()},
    "quick": {
        "integrate": IntegrateParams(budget="quick", n_epochs_kl_warmup=None, lr=2e-3),
        "transfer": TransferParams(max_epochs=10, stratified_split=True),
    },
}
"""Settings of the two training stages by preset name; everything else keeps its default."""

PRESET_HELP: dict[PresetName, str] = {
    "tutorial": "The published settings: 400 epochs of scVI up to 20,000 cells, 20 of scANVI. "
    "Minutes on a GPU, about an hour for 16,000 cells on a laptop.",
    "quick": "15 to 40 epochs of scVI at twice the learning rate, 10 of scANVI: minutes on a laptop. "
    "Gives up the last bit of integration; rare labels and close sister types suffer first.",
}


def scvi_epochs(params: IntegrateParams, *, n_cells: int) -> int:
    """Number of scVI epochs for ``n_cells`` cells.

    The full budget is scvi-tools' own heuristic (``get_max_epochs_heuristic``). The quick one keeps the number of
    gradient steps useful for few cells (40 epochs) and bounded for many (15 epochs).
    """
    if params.max_epochs is not None:
        return params.max_epochs
    if params.budget == "full":
        return max(1, min(round(20_000 / n_cells * 400), 400))
    return max(15, min(round(300_000 / n_cells), 40))
