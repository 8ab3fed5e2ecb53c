"""The stages of a run in order, each skipped where its artefact already exists."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer import home
from labeltransfer.errors import InputError
from labeltransfer.params import RunParams
from labeltransfer.runs.devices import Device, reset_peak_memory
from labeltransfer.runs.record import record
from labeltransfer.runs.reporter import Reporter
from labeltransfer.runs.run import Run
from labeltransfer.runs.store import Store

if TYPE_CHECKING:
    from labeltransfer.models.progress import Epoch, ProgressCallback, Stopped

FORMAT = 2
"""Raised whenever an artefact's content changes its meaning, so that older ones are made anew."""

OFF_WHEN_EMPTY = ("hidden_label", "mapping", "for_mapping")
"""Settings that came later and change nothing while they are empty: artefacts from before them keep their keys."""


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
        home.write_json(folder / "history.json", [e for e in told if e["stage"] == self.reporter.status.stage])


# torch, scvi-tools and scanpy are imported where a stage needs them: whoever only asks for keys stays light.


def _prepare(job: Job, folder: Path) -> None:
    from labeltransfer.data.prepare import prepare

    prepare(job.params, folder, report=job.reporter.say, progress=job.progress)


def _integrate(job: Job, folder: Path) -> None:
    import numpy as np

    from labeltransfer.data.prepared import all_counts, n_untrained, training_data
    from labeltransfer.models.integrate import latent, train_scvi
    from labeltransfer.models.label import stream_latent
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

    from labeltransfer.data.prepared import all_counts, n_untrained, trained_rows, training_data
    from labeltransfer.models.integrate import latent, load_scvi
    from labeltransfer.models.label import stream_soft
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
    from labeltransfer.runs.opinions import ask_others

    hidden = job.params.hidden_label
    ask_others(job.run, folder, hidden=hidden, seed=job.params.seed, say=job.reporter.say, progress=job.progress)


def _embed(source: str) -> Callable[[Job, Path], None]:
    def make(job: Job, folder: Path) -> None:
        import numpy as np

        from labeltransfer.data.prepared import read_cells
        from labeltransfer.results.embed import mde, n_embedded

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
    from labeltransfer.runs.scoring import score_and_collect

    score_and_collect(job.run, folder, seed=job.params.seed, say=job.reporter.say)


@dataclass(frozen=True)
class Stage:
    """One step of a run: from which stages it is made, and which settings decide what comes out."""

    title: str
    make: Callable[[Job, Path], None]
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


STAGES: dict[str, Stage] = {
    "prepare": Stage("Prepare counts and genes", _prepare, (), ("reference", "query", "prepare", "mapping")),
    "integrate": Stage("Train scVI", _integrate, ("prepare",), ("integrate", "seed")),
    "embed_scvi": Stage("Map the scVI latent", _embed("integrate"), ("integrate",), ("embed", "seed")),
    "transfer": Stage("Train scANVI", _transfer, ("prepare", "integrate"), ("transfer", "seed", "hidden_label")),
    "opinions": Stage("Ask other classifiers", _opinions, ("prepare", "integrate", "transfer"), ("seed",)),
    "embed_scanvi": Stage("Map the scANVI latent", _embed("transfer"), ("transfer",), ("embed", "seed")),
    "evaluate": Stage(
        "Score, audit and collect",
        _evaluate,
        ("prepare", "integrate", "transfer", "opinions", "embed_scvi", "embed_scanvi"),
        ("seed",),
    ),
}

STAGE_TITLES = {name: stage.title for name, stage in STAGES.items()}


_MAPPED_TITLES = {"prepare": "Prepare the query", "transfer": "Map with scANVI"}
"""Stages that a mapping makes in its own way."""


def stage_titles(params: RunParams) -> dict[str, str]:
    """What the stages of a run are called."""
    return STAGE_TITLES | (_MAPPED_TITLES if params.mapping else {})


def _maker(stage: str, params: RunParams) -> Callable[[Job, Path], None]:
    """What makes a stage: its own function, or that of a mapping."""
    if params.mapping and stage in _MAPPED_TITLES:
        from labeltransfer.runs.mapping import MAKERS

        return MAKERS[stage]
    return STAGES[stage].make


def stages_of(params: RunParams) -> list[str]:
    """Names of the stages that were asked for, in order."""
    names = [name for name in STAGES if not (params.mapping and name in ("integrate", "embed_scvi"))]
    if params.reference_alone and params.last_stage == "evaluate":
        return ["prepare", "integrate", "transfer"]
    return names[: names.index(params.last_stage) + 1]


def stage_keys(params: RunParams) -> dict[str, str]:
    """Key of each stage's artefact: a digest of its settings, of its inputs' keys and of the files read.

    Raises
    ------
    InputError
        An input file is not there.
    """
    asked = params.model_dump(mode="json")
    keys: dict[str, str] = {}
    for name, stage in STAGES.items():
        settings = _told({s: asked[s] for s in stage.settings})
        content: list[Any] = [FORMAT, name, settings, [keys[i] for i in stage.inputs]]
        if name == "prepare":
            # What a query is mapped onto stands with its digest in ``mapping``; its file may have gone since.
            files = ["" if params.mapping else params.reference.path, params.query.path, params.prepare.gene_lengths]
            content.append([_fingerprint(file) for file in files if file])
        keys[name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return keys


def reusable_stages(store: Store, params: RunParams) -> list[str]:
    """Names of the asked-for stages whose artefact is already there."""
    keys = stage_keys(params)
    return [name for name in stages_of(params) if store.has_stage(name, keys[name])]


def carry_out(run: Run, reporter: Reporter, device: Device) -> None:
    """Make every stage of a run that is not there yet.

    Raises
    ------
    RunCancelled
        Somebody asked for the run to stop.
    LabelTransferError
        The data or the settings do not allow a stage; those before it are kept.
    """
    store = Store(run.root)
    params = run.params
    job = Job(run, params, reporter, device)
    keys = stage_keys(params)
    for name in stages_of(params):
        reporter.check()
        reporter.update(stage=name, epoch=0, n_epochs=0, fraction=0.0, message="")
        reused = store.claim_stage(run, name, keys[name])
        damaged = store.set_damaged_aside(run, name, keys[name]) if reused else []
        if damaged:
            reused = False
            print(f"Stage {name} was damaged on disk ({', '.join(damaged)}) and is made anew", flush=True)
            reporter.say(f"{STAGE_TITLES[name]}: was damaged on disk and is made anew")
        run.append_event("start", stage=name, reused=reused)
        began = time.perf_counter()
        own_peak = reset_peak_memory()
        if not reused:
            with store.build_stage(run, name, keys[name]) as folder:
                _maker(name, params)(job, folder)
                settings = {s: params.model_dump(mode="json")[s] for s in STAGES[name].settings}
                seconds = time.perf_counter() - began
                facts = record(name, settings, device, seconds, own_peak=own_peak)
                if damaged:
                    facts["made_anew"] = {"time": time.time(), "damaged": damaged}
                home.write_json(folder / "stage.json", facts)
        run.append_event("end", stage=name, seconds=time.perf_counter() - began)


def _told(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that came later and are off."""
    own = {name: value for name, value in settings.items() if name not in OFF_WHEN_EMPTY or value}
    return {name: _told(value) if isinstance(value, dict) else value for name, value in own.items()}


def _fingerprint(path: str) -> list[Any]:
    """Tells one state of a file from another without reading it whole."""
    file = Path(path)
    try:
        facts = file.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): choose the file again.") from error
    return [str(file.resolve()), facts.st_size, facts.st_mtime_ns]
