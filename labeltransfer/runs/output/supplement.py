"""What a finished run adds to a paper's supplement: its report, the script that repeats it, and all as one zip."""

import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from labeltransfer.data.genes.lengths import TUTORIAL_URL
from labeltransfer.errors import RunError
from labeltransfer.results.export import predictions
from labeltransfer.results.export.safe_csv import csv_blocks
from labeltransfer.results.report.render import Material, render
from labeltransfer.results.report.script import script_text
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.results.trust.rejection import Rule
from labeltransfer.runs.output.settings import params_json
from labeltransfer.runs.records.artefacts import Artefacts
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.runs.records.edits import read_edits
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.timing import training_history
from labeltransfer.runs.worker.pipeline import stages_of
from labeltransfer.runs.worker.stages import stage_titles
from labeltransfer.storage import files

ANNOTATED = Path("exports") / "annotated.h5ad"
"""Where a run keeps its annotated file, below its own folder."""


def report_html(run: Run) -> str:
    """The report of a finished run, see :func:`.report.render`.

    Raises
    ------
    RunError
        The run has no scores yet.
    """
    status = run.status()
    stages = {name: _json(partial(run.artefacts.made, name)) for name in run.stage_keys()}
    titles = stage_titles(run.params)
    versions: dict[str, str] = {}
    for stage in stages.values():
        versions |= stage.get("versions", {})
    material = Material(
        run_id=run.id,
        params=run.params,
        cells=read_cells(run.artefacts.cells),
        summary=_json(lambda: run.artefacts.summary),
        metrics=_json(lambda: run.artefacts.metrics),
        trust=_json(lambda: run.artefacts.trust),
        history=_history(run),
        versions=versions,
        seconds={titles.get(s, s): float(facts["seconds"]) for s, facts in stages.items() if "seconds" in facts},
        device=next((facts["device"] for facts in stages.values() if facts.get("device")), status.device),
        audit=_audit(run),
        edits=[edit.as_dict() for edit in read_edits(run)],
        made=time.strftime("%Y-%m-%d", time.localtime(status.finished or status.created)),
    )
    return render(material)


def script_of(run: Run) -> str:
    """The script that repeats a finished run, see :func:`.script.script_text`.

    Raises
    ------
    RunError
        The run was mapped onto a published reference, or was kept without what its preparation counted.
    """
    if run.params.mapping:
        raise RunError(
            "A run that was mapped onto a published reference has no script: the reference's model is not in the two "
            "files. params.json repeats it here with 'python -m labeltransfer map', as long as that is published."
        )
    own = (_json(lambda: run.artefacts.trust).get("methods") or {}).get("scanvi") or {}
    summary = files.read_json(run.artefacts.summary)
    if not all({"counts", "technology", "n_cells"} <= set(summary.get(side, {})) for side in ("reference", "query")):
        raise RunError(f"summary.json of run {run.id} says too little to repeat it: start the run again.")
    return script_text(
        run.params,
        summary=summary,
        history=_history(run),
        tutorial_lengths=TUTORIAL_URL,
        temperature=own.get("temperature") or 1.0,
        versions=_json(lambda: run.artefacts.made("transfer")).get("versions"),
    )


def write_supplement(run: Run, target: Path) -> None:
    """Write everything of a finished run into one zip, which appears when it is whole.

    It holds ``predictions.csv``, ``report.html``, ``script.py``, ``params.json``, ``metrics.json`` and, where the run
    has them, ``trust.json``, ``audit.csv``, ``edits.json``, ``annotated.h5ad`` and both models.

    Raises
    ------
    RunError
        The disk or the folder does not take the file, or something of the run is damaged.
    """
    with (
        predictions.built_aside(target) as building,
        zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for stage in run.stage_keys():  # what the run lacks is left out, what is damaged never
            require_whole(run.artefact(stage))
        rule = Rule(confidence=run.params.reject_below or 0.0)
        cells = read_cells(run.artefacts.cells)
        with archive.open("predictions.csv", "w", force_zip64=True) as file:
            table = predictions.predictions(cells, run.id, rule=rule, edits=read_edits(run))
            for block in csv_blocks(table):
                file.write(block.encode())
        archive.writestr("params.json", params_json(run))
        archive.writestr("report.html", report_html(run))
        with suppress(RunError):
            archive.writestr("script.py", script_of(run))
        for name, path in _files(run):
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as file:
                shutil.copyfileobj(source, file)


def run_models(run: Run) -> dict[str, str]:
    """The stage that keeps each model of a run, by the name of the folder that it is exported in."""
    models = {"scvi_model": "integrate", "scanvi_model": "transfer"}
    return {name: stage for name, stage in models.items() if stage in stages_of(run.params)}


def _files(run: Run) -> Iterator[tuple[str, Path]]:
    """Files that go into the zip as they are, each with its name there; those that the run lacks are left out."""
    for file in (Artefacts.metrics, Artefacts.trust, Artefacts.audit_csv):
        with suppress(RunError):
            yield file.name, run.artefact(file.stage, file.name)
    for path in (run.folder / ANNOTATED, run.folder / "edits.json"):
        if path.exists():
            yield path.name, path
    for name, stage in run_models(run).items():
        with suppress(RunError):
            folder = run.artefacts.model(stage)
            yield from (
                (f"{name}/{path.relative_to(folder)}", path) for path in sorted(folder.rglob("*")) if path.is_file()
            )


def _history(run: Run) -> list[dict[str, Any]]:
    """Events of both trainings; none of one that was not kept."""
    with suppress(RunError, KeyError):
        return training_history(run)
    return []


def _json(path: Callable[[], Path]) -> dict[str, Any]:
    """A JSON file of a stage; empty where ``path`` says that the run lacks it."""
    try:
        found = files.read_json(path())
    except RunError:
        return {}
    return found if isinstance(found, dict) else {}


def _audit(run: Run) -> pd.DataFrame | None:
    """Table of the label audit; None where the run has none."""
    with suppress(RunError):  # not the CSV, whose texts are made safe for spreadsheets
        return pd.read_parquet(run.artefacts.audit)
    return None
