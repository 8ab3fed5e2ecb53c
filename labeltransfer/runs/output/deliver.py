"""What a finished run exports: a folder of files that need this app no more."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.params import UNKNOWN
from labeltransfer.results.export.predictions import predictions, write_annotated
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.levels.in_words import coverage_words, promise_words
from labeltransfer.results.ontology.relations import label_table
from labeltransfer.results.ontology.terms import Term
from labeltransfer.results.scores.final_labels import deciding, final_labels
from labeltransfer.results.trust import hidden_label
from labeltransfer.results.trust.rejection import Rule
from labeltransfer.runs.output.settings import exported_settings, params_json
from labeltransfer.runs.output.supplement import report_html, run_models, script_of
from labeltransfer.runs.records.edits import read_edits
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.timing import reused_stages, stage_seconds
from labeltransfer.storage import files

ALARMS = {"alarm": "these labels should not be believed as they are", "doubt": "look twice at these labels"}


def run_terms(run: Run) -> dict[str, Term]:
    """What the labels of a finished run mean in the Cell Ontology, by label."""
    return {label: Term(**term) for label, term in files.read_json(run.whole_artefacts.terms).items()}


def run_metrics(run: Run) -> dict[str, Any]:
    """Scores of a finished run with the seconds that each stage took to make, and which stages were reused."""
    scores = files.read_json(run.whole_artefacts.metrics)
    return {"run_id": run.id} | scores | {"seconds": stage_seconds(run), "reused_stages": reused_stages(run)}


def deliver(run: Run, folder: Path) -> Iterator[str]:
    """Write a finished run's results to a folder; gives a line about each.

    Writes ``predictions.csv``, ``per_label.csv``, ``metrics.json``, ``trust.json``, ``cells.parquet``, ``params.json``,
    ``report.html``, ``script.py``, ``scvi_model/`` and ``scanvi_model/``; where a label was hidden also
    ``hidden.json``, see :func:`.hidden.hidden_report`. A run that was mapped has no script and no scVI.
    """
    cells_file = run.whole_artefacts.cells
    cells = pd.read_parquet(cells_file)
    rule = Rule(confidence=run.params.reject_below or 0.0)
    table = predictions(cells, run.id, rule=rule, edits=read_edits(run))
    files.write_atomic(folder / "predictions.csv", to_csv(table))
    metrics = run_metrics(run)
    files.write_json(folder / "metrics.json", metrics)
    files.write_atomic(folder / "per_label.csv", to_csv(label_table(cells, run_terms(run))))
    trust = files.read_json(run.whole_artefacts.trust)
    files.write_json(folder / "trust.json", trust)
    shutil.copyfile(run.whole_artefacts.audit_csv, folder / "audit.csv")
    report = hidden_label.hidden_report(cells, run.params.hidden_label) if run.params.hidden_label else None
    if report:
        files.write_json(folder / "hidden.json", report)
    shutil.copyfile(cells_file, folder / "cells.parquet")
    files.write_atomic(folder / "params.json", params_json(run))
    for name, stage in run_models(run).items():
        shutil.copytree(run.whole_artefacts.model(stage), folder / name, dirs_exist_ok=True)

    files.write_atomic(folder / "report.html", report_html(run))
    with_script = run.params.mapping is None
    if with_script:
        files.write_atomic(folder / "script.py", script_of(run))

    query = metrics["query"]
    yield f"{len(table):,} query cells labelled: {folder / 'predictions.csv'}"
    n_trained_on = int(cells.loc[cells["side"] == "query", "trained_on"].sum())
    if n_trained_on < len(table):
        is_sample = len(table) > run.params.prepare.max_query_cells
        which = (
            "drawn from every batch and every kind of cell" if is_sample else "which have counts in the chosen genes"
        )
        yield f"the models were trained on {n_trained_on:,} of them, {which}"
    if query["n_scored"]:
        yield (
            f"accuracy {query['accuracy']:.3f}, macro-F1 {query['macro_f1']:.3f} over {query['n_scored']:,} of "
            f"{query['n_cells']:,} query cells, those whose observed label the reference has"
        )
    if "levels" in trust:
        yield f"labels at levels: {coverage_words(table['label_level'])} {promise_words(trust)}"
    if rule.active:
        n_rejected = int((table["predicted_label"] == UNKNOWN).sum())
        yield f"{n_rejected:,} of them are Unknown: their confidence is below {rule.confidence:g}"
    if report:
        yield from _hidden_lines(report)
    if reasons := trust["alarm"]["reasons"]:
        yield f"{ALARMS[trust['alarm']['level']]}: {' '.join(reasons)}"
    script = f"; script that repeats the run: {folder / 'script.py'}" if with_script else ""
    yield f"report for a supplement: {folder / 'report.html'}{script}"


def _hidden_lines(report: dict[str, Any]) -> Iterator[str]:
    """What became of the cells of a label that was hidden."""
    judged = report["rules"]["both"]
    most = report["swallowed_by"][0]
    yield (
        f"of the {judged['n_hidden']:,} reference cells of the hidden label {report['label']} {most['n_cells']:,} were "
        f"called {most['predicted_label']}, more than any other"
    )
    by_confidence, by_distance = (report["rules"][kind] for kind in ("confidence", "distance"))
    yield (
        f"of them {by_confidence['n_hidden_rejected']:,} are rejected by a confidence below "
        f"{by_confidence['rule']['confidence']:.3f}, {by_distance['n_hidden_rejected']:,} by a distance percentile "
        f"beyond {by_distance['rule']['distance']:.1f}, {judged['n_hidden_rejected']:,} by thresholds on both, each "
        f"at the loss of at most {hidden_label.LOSS:.0%} of {judged['n_others']:,} held-out cells of other labels"
    )


def annotated(run: Run, path: Path) -> None:
    """Write a finished run as one annotated h5ad, with the labels after its edits where there are any."""
    cells, edits = pd.read_parquet(run.whole_artefacts.cells), read_edits(run)
    if edits:
        decided = deciding(edits, len(cells))
        cells = pd.concat([cells, final_labels(cells["predicted_label"], edits, decided)], axis=1)
    write_annotated(
        path,
        prepared=run.whole_artefacts.prepared,
        cells=cells,
        soft=pd.read_parquet(run.whole_artefacts.soft),
        latent_scvi=None if run.params.mapping else np.load(run.whole_artefacts.scvi_latent),
        latent_scanvi=np.load(run.whole_artefacts.scanvi_latent),
        settings=exported_settings(run),
        run_id=run.id,
    )
