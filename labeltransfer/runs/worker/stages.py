"""The stages of a run: what each is made from, by which settings, and how.

torch, scvi-tools and scanpy are imported where a stage needs them: whoever only asks for keys stays light.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labeltransfer.params import RunParams
from labeltransfer.runs.queue.devices import Device
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.worker.reporter import Reporter
from labeltransfer.storage import files

if TYPE_CHECKING:
    from labeltransfer.models.progress import Epoch, ProgressCallback, Stopped


@dataclass(frozen=True)
class Job:
    """What the making of one stage needs to know."""

    run: Run
    params: RunParams
    reporter: Reporter
    device: Device

    def callback(self) -> "ProgressCallback":
        """A callback that brings a training's progress to the run directory and a cancel request to the training."""
        from labeltransfer.models.progress import ProgressCallback

        stage = self.reporter.status.stage

        def on_epoch(epoch: "Epoch") -> None:
            self.run.append_event("epoch", stage=stage, **asdict(epoch))
            self.reporter.note(epoch=epoch.epoch, n_epochs=epoch.n_epochs, fraction=epoch.epoch / epoch.n_epochs)

        def on_stop(stopped: "Stopped") -> None:
            self.run.append_event("stopped", stage=stage, **asdict(stopped))

        return ProgressCallback(on_epoch, self.progress, on_stop)

    def progress(self, share: float) -> None:
        """Bring the share of the stage that is done to the run directory, and a cancel request to the work."""
        self.reporter.check()
        self.reporter.note(fraction=share)

    def keep_history(self, folder: Path) -> None:
        """Keep the losses of each epoch, and how the training ended, beside the model for the runs that reuse it."""
        told = [e for e in self.run.events() if e["event"] in ("epoch", "stopped")]
        files.write_json(folder / "history.json", [e for e in told if e["stage"] == self.reporter.status.stage])


def _prepare(job: Job, folder: Path) -> None:
    from labeltransfer.data.prepare.pair import prepare

    prepare(job.params, folder, report=job.reporter.say, progress=job.progress)


def _integrate(job: Job, folder: Path) -> None:
    import numpy as np

    from labeltransfer.data.prepare.prepared import all_counts, n_untrained, training_data
    from labeltransfer.models.integrate import latent, train_scvi
    from labeltransfer.models.predict import stream_latent
    from labeltransfer.training_labels import training_labels

    prepared = job.run.artefact("prepare", "prepared.h5ad")
    adata = training_data(prepared)
    training_labels(adata.obs, job.params.hidden_label)  # raised before the long training, not after it
    job.reporter.say(f"Training scVI on {adata.n_obs:,} cells × {adata.n_vars:,} genes")
    model = train_scvi(
        adata, job.params.integrate, seed=job.params.seed, accelerator=job.device.accelerator, callback=job.callback()
    )
    model.save(folder / "model", overwrite=True)
    job.keep_history(folder)
    if n_untrained(prepared):
        counts, batches = all_counts(prepared)
        job.reporter.say(f"Placing all {len(batches):,} cells in the latent")
        points = stream_latent(model, counts, batches, progress=job.progress)
    else:
        points = latent(model)
    np.save(folder / "latent.npy", points)


def _transfer(job: Job, folder: Path) -> None:
    import numpy as np

    from labeltransfer.data.prepare.prepared import all_counts, n_untrained, trained_rows, training_data
    from labeltransfer.models.integrate import latent, load_scvi
    from labeltransfer.models.predict import stream_soft
    from labeltransfer.models.transfer import held_out_cells, soft_predictions, train_scanvi
    from labeltransfer.training_labels import training_labels

    prepared = job.run.artefact("prepare", "prepared.h5ad")
    adata = training_data(prepared)
    adata.obs["training_label"] = training_labels(adata.obs, job.params.hidden_label)
    # Always from the stored model, so that a run that reuses it and a run that has just trained it agree exactly.
    scvi_model = load_scvi(job.run.artefact("integrate", "model"), adata)
    job.reporter.say(f"Training scANVI on {adata.n_obs:,} cells")
    device, seed = job.device.accelerator, job.params.seed
    model = train_scanvi(scvi_model, job.params.transfer, seed=seed, accelerator=device, callback=job.callback())
    model.save(folder / "model", overwrite=True)
    job.keep_history(folder)
    if n_untrained(prepared):
        counts, batches = all_counts(prepared)
        job.reporter.say(f"Labelling all {len(batches):,} cells")
        points, soft = stream_soft(model, counts, batches, progress=job.progress)
    else:
        points, soft = latent(model), soft_predictions(model)
    np.save(folder / "latent.npy", points)
    np.save(folder / "held_out.npy", held_out_cells(model, trained_rows(prepared)))
    soft.to_parquet(folder / "soft.parquet")


def _opinions(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.second_opinions import ask_others

    hidden = job.params.hidden_label
    ask_others(job.run, folder, hidden=hidden, seed=job.params.seed, say=job.reporter.say, progress=job.progress)


def embed_latent(source: str) -> Callable[[Job, Path], None]:
    def make(job: Job, folder: Path) -> None:
        import numpy as np

        from labeltransfer.data.prepare.prepared import read_cells
        from labeltransfer.results.maps.embed import mde, n_embedded

        points = np.load(job.run.artefact(source, "latent.npy"))
        n_first, strata, how = n_embedded(len(points)), None, " in two dimensions"
        if n_first < len(points):
            how = f": {n_first:,} are laid out, the others placed among their nearest"
            cells = read_cells(job.run.artefact("prepare", "prepared.h5ad"))
            strata = cells.groupby(["batch", "training_label"], observed=True).ngroup().to_numpy()
        job.reporter.say(f"Mapping {len(points):,} cells{how}")
        found = mde(points, strata=strata, **job.params.embed.model_dump(), seed=job.params.seed)
        np.save(folder / "mde.npy", found)

    return make


def _evaluate(job: Job, folder: Path) -> None:
    from labeltransfer.runs.worker.scoring import score_and_collect

    score_and_collect(job.run, folder, seed=job.params.seed, say=job.reporter.say)


@dataclass(frozen=True)
class Stage:
    """One step of a run: from which stages it is made, and which settings decide what comes out.

    What is made ``beside`` the stages after it needs one core of the processor for a while, and none of them needs it
    but those that name it among their inputs.
    """

    title: str
    make: Callable[[Job, Path], None]
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    beside: bool = False


STAGES: dict[str, Stage] = {
    "prepare": Stage("Prepare counts and genes", _prepare, (), ("reference", "query", "prepare", "mapping")),
    "integrate": Stage("Train scVI", _integrate, ("prepare",), ("integrate", "seed")),
    "embed_scvi": Stage(
        "Map the scVI latent", embed_latent("integrate"), ("integrate",), ("embed", "seed"), beside=True
    ),
    "transfer": Stage("Train scANVI", _transfer, ("prepare", "integrate"), ("transfer", "seed", "hidden_label")),
    "embed_scanvi": Stage(
        "Map the scANVI latent", embed_latent("transfer"), ("transfer",), ("embed", "seed"), beside=True
    ),
    "opinions": Stage("Ask other classifiers", _opinions, ("prepare", "integrate", "transfer"), ("seed",)),
    "evaluate": Stage(
        "Score, audit and collect",
        _evaluate,
        ("prepare", "integrate", "transfer", "opinions", "embed_scvi", "embed_scanvi"),
        ("seed",),
    ),
}

STAGE_TITLES = {name: stage.title for name, stage in STAGES.items()}


MAPPED_TITLES = {"prepare": "Prepare the query", "transfer": "Map with scANVI"}
"""Stages that a mapping makes in its own way."""


def stage_titles(params: RunParams) -> dict[str, str]:
    """What the stages of a run are called."""
    return STAGE_TITLES | (MAPPED_TITLES if params.mapping else {})


def maker(stage: str, params: RunParams) -> Callable[[Job, Path], None]:
    """What makes a stage: its own function, or that of a mapping."""
    if params.mapping and stage in MAPPED_TITLES:
        from labeltransfer.runs.worker.map_stages import MAKERS

        return MAKERS[stage]
    return STAGES[stage].make
