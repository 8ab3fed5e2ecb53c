"""The last stage: everything that pages and files show, put together, scored and audited."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.results.audit.audit import audit
from labeltransfer.results.levels.labelled import label_cells
from labeltransfer.results.ontology import relations
from labeltransfer.results.ontology.terms import Term, find_terms
from labeltransfer.results.scores.cells import cell_table, codes_among
from labeltransfer.results.scores.evaluate import method_scores, metrics, reference_labels
from labeltransfer.results.trust.confidence import cross_calibrated
from labeltransfer.results.trust.consensus import SCANVI
from labeltransfer.runs.records.audit_files import write_audit
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.label_tree import label_tree
from labeltransfer.storage import files
from labeltransfer.training_labels import hidden_cells


def make(job: Job, folder: Path) -> None:
    """Put the table of cells together, and score and audit it.

    Writes ``cells.parquet`` (:func:`.cells.cell_table` with ``ontology_verdict``, ``audited_label``, ``audit_score``,
    ``hidden`` where a label was, and the labels at levels of :func:`.labelled.label_cells`), ``metrics.json``,
    ``terms.json`` (what the labels mean in the Cell Ontology), ``audit.parquet`` and ``audit.csv``, and ``trust.json``:
    that of the stage before, with scores of the methods on the query and of the Cell Ontology, and what is promised of
    the labels at levels.
    """
    run = job.run
    prepared = run.artefacts.prepared
    cells = cell_table(
        read_cells(prepared),
        pd.read_parquet(run.artefacts.opinions),
        mde_scvi=None if run.params.mapping else np.load(run.artefacts.scvi_mde),
        mde_scanvi=np.load(run.artefacts.scanvi_mde),
    )
    if run.params.hidden_label is not None:
        cells["hidden"] = hidden_cells(cells, run.params.hidden_label)
    terms = find_terms(cells)
    cells["ontology_verdict"] = relations.verdict_column(cells, terms)
    job.reporter.say("Auditing the observed labels")
    counts, _ = all_counts(prepared)
    genes = read_genes(prepared)
    audited = audit(
        cells,
        np.load(run.artefacts.latent(run.params.latent_stage)),
        counts,
        relations=lambda observed, predicted: relations.pair_verdict(terms, observed, predicted),
        genes=genes.index[genes["highly_variable"]].astype(str).to_list(),
        seed=job.params.seed,
    )
    trust = files.read_json(run.artefacts.opinions_trust)
    levelled, promised = _levels(job, cells, terms)
    cells = pd.concat([cells, audited.cells, levelled.set_axis(cells.index)], axis=1)
    cells.to_parquet(folder / "cells.parquet")
    write_audit(folder, audited.table)
    files.write_json(folder / "metrics.json", metrics(cells))
    files.write_json(folder / "terms.json", {label: asdict(term) for label, term in terms.items()})
    scores = relations.ontology_scores(relations.pair_verdicts(cells, terms), terms, reference_labels(cells))
    found = {"query": method_scores(cells), "ontology": scores, "levels": promised}
    files.write_json(folder / "trust.json", trust | found)


def _levels(job: Job, cells: pd.DataFrame, terms: Mapping[str, Term]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Labels at levels by the probabilities of the label that is handed out, and what is promised of them."""
    probabilities = pd.read_parquet(job.run.artefacts.probabilities)
    labels = [str(label) for label in probabilities.columns]
    held_out = np.load(job.run.artefacts.held_out)
    own, params = cells.iloc[held_out], job.params
    known = probabilities.iloc[held_out]
    if params.panel.answer == SCANVI and len(held_out):  # the consensus is calibrated by a number that none has seen
        soft = pd.read_parquet(job.run.artefacts.soft).iloc[held_out]
        known = cross_calibrated(soft, own["observed_label"].astype(str).to_numpy(), seed=params.seed)
    return label_cells(
        probabilities,
        label_tree(cells, labels, params.level_keys, terms),
        held_out=held_out,
        held_out_probabilities=known,
        observed=codes_among(own["observed_label"], labels),
        is_query=(cells["side"] == "query").to_numpy(),
        error=params.error_to_bear,
        groups=own["batch"].astype(str).to_numpy(),
    )
