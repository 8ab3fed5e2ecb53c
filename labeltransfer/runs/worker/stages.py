"""The stages of a run: what each is made from, and which params decide what comes out.

What makes them is in :mod:`.registry`: a page that asks for keys and titles imports none of it.
"""

from dataclasses import dataclass

from labeltransfer.params import RunParams


@dataclass(frozen=True)
class Stage:
    """One step of a run: from which stages it is made, and which sections of the params decide what comes out.

    What is made in the ``side_process``, while the stages after it are made, needs one core of the processor for a
    while, and only those stages need it that name it among their inputs.
    """

    title: str
    inputs: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    side_process: bool = False


STAGES: dict[str, Stage] = {
    "prepare": Stage("Prepare counts and genes", (), ("reference", "query", "prepare", "mapping")),
    "integrate": Stage("Train scVI", ("prepare",), ("integrate", "seed")),
    "embed_scvi": Stage("Map the scVI latent", ("integrate",), ("embed", "seed"), side_process=True),
    "transfer": Stage("Train scANVI", ("prepare", "integrate"), ("transfer", "seed", "hidden_label")),
    "embed_scanvi": Stage("Map the scANVI latent", ("transfer",), ("embed", "seed"), side_process=True),
    "opinions": Stage("Ask other classifiers", ("prepare", "integrate", "transfer"), ("panel", "seed")),
    "evaluate": Stage(
        "Score, audit and collect",
        ("prepare", "integrate", "transfer", "opinions", "embed_scvi", "embed_scanvi"),
        ("seed", "level_keys", "error_to_bear"),
    ),
}

STAGE_TITLES = {name: stage.title for name, stage in STAGES.items()}

MAPPED_TITLES = {"prepare": "Prepare the query", "transfer": "Map with scANVI"}
"""Stages that a run makes in another way when it maps its query onto a published reference."""


def stage_titles(params: RunParams) -> dict[str, str]:
    """What the stages of a run are called."""
    return STAGE_TITLES | (MAPPED_TITLES if params.mapping else {})
