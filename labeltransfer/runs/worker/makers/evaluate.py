"""The last stage: everything that pages and files show, put together, scored and audited."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.results.audit.audit import audit
from labeltransfer.results.ontology import relations
from labeltransfer.results.ontology.terms import find_terms
from labeltransfer.results.scores.cells import cell_table
from labeltransfer.results.scores.evaluate import method_scores, metrics, reference_labels
from labeltransfer.runs.records.audit_files import write_audit
from labeltransfer.runs.worker.job import Job
from labeltransfer.storage import files
from labeltransfer.training_labels import hidden_cells


def make(job: Job, folder: Path) -> None:
    """Put the table of cells together, and score and audit it.

    Writes ``cells.parquet`` (:func:`.cells.cell_table` with ``ontology_verdict``, ``audited_label`` and
    ``audit_score``, and ``hidden`` where a label was), ``metrics.json``, ``terms.json`` (what the labels mean in the
    Cell Ontology), ``audit.parquet`` and ``audit.csv``, and ``trust.json``: that of the stage before, with scores of
    the methods on the query and of the Cell Ontology.
    """
    run = job.run
    prepared = run.artefacts.prepared
    cells = cell_table(
        read_cells(prepared),
        pd.read_parquet(run.artefacts.soft),
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
    cells = pd.concat([cells, audited.cells], axis=1)
    cells.to_parquet(folder / "cells.parquet")
    write_audit(folder, audited.table)
    files.write_json(folder / "metrics.json", metrics(cells))
    files.write_json(folder / "terms.json", {label: asdict(term) for label, term in terms.items()})
    scores = relations.ontology_scores(relations.pair_verdicts(cells, terms), terms, reference_labels(cells))
    trust = files.read_json(run.artefacts.opinions_trust)
    files.write_json(folder / "trust.json", trust | {"query": method_scores(cells), "ontology": scores})
