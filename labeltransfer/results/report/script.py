"""A standalone script that repeats a run with plain scvi-tools, scanpy and anndata, for the supplement of a paper.

Its steps are the text of ``script_body.py``, which imports nothing of this app; its settings are those of the run, put
in as Python literals, so that no file name or label is ever read as code.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from labeltransfer.params import RunParams, Side
from labeltransfer.presets import FOR_MAPPING, scanvi_pace, scvi_pace

BODY = Path(__file__).with_name("script_body.py")
USUAL_SPAN = 0.3
"""Span of seurat_v3's trend in scanpy, unless another one is asked for."""
PLACE = "SETTINGS: dict[str, Any] = {}"
"""Line of the body that the settings take."""

HEAD = """\
Give the two files as arguments if they are not next to this script:

    python script.py REFERENCE.h5ad QUERY.h5ad --out predictions.csv
"""
EXACT = """\
On the machine of the run, with the versions below and on the same device, it gives the run's labels. Elsewhere the last
digits of a sum differ, and with them the labels of a few doubtful cells. Should scvi-tools say "Expected more than 1
value per channel", an epoch ends with a step of a single cell, which labeltransfer leaves out: take a batch_size one
larger.
"""
FAST_LOOP = """\
IT IS NOT BIT-EQUAL TO THE RUN. The run was trained in labeltransfer's fast loop, which computes the same objective but
draws its steps in another order, and may lower the learning rate and keep the weights of an earlier epoch. This script
trains the same models in scvi-tools' own loop for as many epochs as the weights that the run kept. Expect the same
labels for clear cells, and others for some doubtful ones.
"""
EARLY = """\
With early stopping scvi-tools looks at held-out cells after each epoch, which draws random numbers; labeltransfer gives
them back and this script does not, so models differ a little, and with them the labels of a few doubtful cells.
"""
SAMPLED = """\
The run trained on a sample of the query, drawn from every batch and every kind of cell. This script draws as many query
cells at random, so models and labels differ from the run's; rare kinds of cells may be missing from training. The
column trained_on of the run's cells.parquet marks its sample.
"""
CALIBRATED = """\
The column scanvi_confidence uses the temperature that the run was calibrated with; the calibration itself, the other
classifiers and the maps are not repeated here.
"""


def script_text(
    params: RunParams,
    *,
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    tutorial_lengths: str,
    temperature: float = 1.0,
    versions: Mapping[str, str] | None = None,
) -> str:
    """Write the script of a finished run.

    Parameters
    ----------
    params
        What was asked of the run.
    summary
        ``summary.json`` of its prepared counts.
    history
        Events ``epoch`` and ``stopped`` of both trainings, oldest first.
    tutorial_lengths
        Address of the gene-length table that is used where none is named.
    temperature
        That of scANVI's calibration.
    versions
        Versions that the run was made with, by package.

    Returns
    -------
    Python source. Paces that a preset leaves open are resolved for the run's number of cells, and in place of an
    unknown number of epochs are those that were trained.
    """
    settings = script_settings(
        params, summary=summary, history=history, tutorial_lengths=tutorial_lengths, temperature=temperature
    )
    loops = {params.integrate.loop, params.transfer.loop}
    n_query = int(summary["query"]["n_cells"])
    is_sample = n_query > params.prepare.max_query_cells
    notes = [HEAD]
    if "fast" in loops:
        notes.append(FAST_LOOP)
    elif params.integrate.early_stopping:
        notes.append(EARLY)
    elif not is_sample:
        notes.append(EXACT)
    notes += [*([SAMPLED] if is_sample else []), CALIBRATED]
    if versions:
        pinned = " ".join(f"{package}=={version}" for package, version in sorted(versions.items()))
        notes.append(f"Versions of the run: {_printable(pinned)}\n")
    body = BODY.read_text()
    title, _, rest = body.partition('"""\n')[2].partition("\n\n\ndef main")
    first_line = body.partition('"""')[2].partition('"""')[0]
    head = '"""' + "\n".join([first_line + "\n", *notes]) + '"""\n'
    literal = pformat(settings, width=110, sort_dicts=False)
    title = title.replace(PLACE, f"SETTINGS: dict[str, Any] = {literal}")
    return f"{head}{title}\n\n\ndef main{rest}"


def script_settings(
    params: RunParams,
    *,
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    tutorial_lengths: str,
    temperature: float,
) -> dict[str, Any]:
    """Settings of the script as plain data, see :func:`script_text`."""
    first, second, n_cells = params.integrate, params.transfer, n_trained_on(summary)
    first_pace, second_pace = scvi_pace(first, n_cells=n_cells), scanvi_pace(second, n_cells=n_cells)
    lengths = params.prepare.gene_lengths
    ranking = ranking_of(params, summary)
    n_fast = {stage: epochs_kept(history, stage) for stage in ("integrate", "transfer")}
    return {
        "seed": params.seed,
        "reference": _side(params, "reference", summary),
        "query": _side(params, "query", summary),
        "length_normalize": params.prepare.length_normalize,
        "gene_lengths": Path(lengths).name if lengths else tutorial_lengths,
        "n_top_genes": params.prepare.n_top_genes,
        "hvg_method": ranking["method"],
        "hvg_span": ranking["span"],
        "hvg_batch": ranking["within"],
        "hidden_label": params.hidden_label,
        "max_query_cells": params.prepare.max_query_cells,
        "scvi": {
            "architecture": first.model_dump(
                include={"n_layers", "n_latent", "n_hidden", "dropout_rate", "gene_likelihood", "dispersion"}
            )
            | (FOR_MAPPING if first.for_mapping else {}),
            "stratified_split": first.loop == "fast",
            "train_size": first.train_size,
            "training": {
                "max_epochs": n_fast["integrate"] if first.loop == "fast" else first_pace.max_epochs,
                "batch_size": first_pace.batch_size,
                "early_stopping": first.early_stopping and first.loop != "fast",
                "early_stopping_patience": first.early_stopping_patience,
            },
            "plan": {"lr": first_pace.lr, "n_epochs_kl_warmup": first_pace.kl_warmup},
        },
        "scanvi": {
            "stratified_split": second.stratified_split or second.loop == "fast",
            "train_size": second.train_size,
            "training": {
                "max_epochs": n_fast["transfer"] if second.loop == "fast" else second_pace.max_epochs,
                "batch_size": second_pace.batch_size,
                "n_samples_per_label": second.n_samples_per_label,
            },
            "plan": {"lr": second_pace.lr},
        },
        "temperature": float(temperature),
    }


def ranking_of(params: RunParams, summary: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's genes were ranked: ``method``, ``span`` and ``within``; runs that do not say so ranked as usual."""
    usual = {"method": "seurat_v3", "span": USUAL_SPAN, "within": params.prepare.hvg_batch}
    return usual | (summary.get("genes", {}).get("ranking") or {})


def n_trained_on(summary: Mapping[str, Any]) -> int:
    """Cells of both sides that the models were trained on."""
    return sum(int(summary[side].get("n_trained_on", summary[side]["n_cells"])) for side in ("reference", "query"))


def epochs_kept(history: Sequence[Mapping[str, Any]], stage: str) -> int:
    """Epochs behind the weights that a training kept: those of the best epoch, where it says which that was."""
    own = [event for event in history if event.get("stage") == stage]
    stopped = [int(event["best_epoch"]) for event in own if event["event"] == "stopped"]
    trained = [int(event["epoch"]) for event in own if event["event"] == "epoch"]
    return max(1, stopped[-1] if stopped else max(trained, default=1))


def _side(params: RunParams, side: Side, summary: Mapping[str, Any]) -> dict[str, Any]:
    asked = params.reference if side == "reference" else params.query
    return {
        "file": Path(asked.path).name,
        "technology": str(summary[side]["technology"]),
        "labels_key": asked.labels_key,
        "keep_unlabelled": asked.keep_unlabelled,
        "batch_key": asked.batch_key,
        "filters": {column: list(values) for column, values in asked.filters.items()},
        "counts": str(summary[side]["counts"]),
        "gene_names": asked.gene_names,
        "non_integer": asked.non_integer,
    }


def _printable(text: str) -> str:
    """Text that ends neither a docstring nor its line."""
    return "".join(c for c in text if c.isprintable() and c not in '"\\')
