"""The stage between training and scoring: what else could be said of each cell, and how far to believe any of it."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.classifiers import VOTERS, PanelData, training_rows
from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.neighbours import nearest_labelled
from labeltransfer.params import UNKNOWN
from labeltransfer.results.scores.cells import CONSENSUS
from labeltransfer.results.trust import alarm, consensus, distance
from labeltransfer.results.trust.confidence import calibrated
from labeltransfer.runs.worker.job import Job
from labeltransfer.storage import files
from labeltransfer.training_labels import training_labels


def make(job: Job, folder: Path) -> None:
    """Train the panel on the reference, ask it about every cell, and weigh all by held-out reference cells.

    Writes ``opinions.parquet``, a row a cell as :func:`.consensus.opinion_table` makes it with ``held_out`` and
    ``distance_percentile``, and ``trust.json`` with ``methods`` (:func:`.consensus.held_out_report` of each),
    ``best_method`` and ``alarm``. No classifier is trained on the label that the run hides.
    """
    run, seed, say, progress = job.run, job.params.seed, job.reporter.say, job.progress
    prepared = run.artefacts.prepared
    obs = read_cells(prepared)
    latent = np.load(run.artefacts.latent(run.params.latent_stage))
    scanvi = pd.read_parquet(run.artefacts.soft)
    held_out = np.load(run.artefacts.held_out)
    hidden = job.params.hidden_label
    labels, names = training_labels(obs, hidden).to_numpy(dtype=object), list(consensus.names(scanvi))
    trainable = np.setdiff1d(np.flatnonzero(labels != UNKNOWN), held_out)
    training = training_rows(labels, trainable, seed=seed)

    say("Looking for each cell's nearest labelled cells")
    near = nearest_labelled(latent, training, seed=seed)
    progress(0.1)
    say(f"Asking other classifiers, trained on {len(training):,} reference cells")
    n_counts = obs["n_counts"].to_numpy()
    data = PanelData(labels, training, names, latent, near, cache(partial(_known_counts, prepared)), n_counts)
    softs = {consensus.SCANVI: scanvi, **_ask(data, seed=seed, progress=lambda share: progress(0.1 + 0.8 * share))}

    def report(soft: pd.DataFrame) -> dict[str, Any]:
        return consensus.held_out_report(soft.iloc[held_out], labels[held_out], seed=seed)

    reports = {name: report(soft) for name, soft in softs.items()}
    trusted = {name: calibrated(soft, reports[name]["temperature"]) for name, soft in softs.items()}
    combined = consensus.consensus_soft(trusted, {name: found["accuracy"] for name, found in reports.items()})
    reports[CONSENSUS] = report(combined)
    trusted[CONSENSUS] = calibrated(combined, reports[CONSENSUS]["temperature"])
    table = consensus.opinion_table(scanvi, trusted)
    table["held_out"] = _mask(held_out, len(obs))
    table["distance_percentile"] = distance.distance_percentile(near, _mask(training, len(obs)))
    is_query = (obs["side"] == "query").to_numpy()
    verdict = alarm.judge(
        table.assign(predicted_label=consensus.names(scanvi)[scanvi.to_numpy().argmax(axis=1)]),
        is_query,
        table["held_out"].to_numpy(),
        mixed=alarm.mixing(latent, is_query, seed=seed),
    )
    table.to_parquet(folder / "opinions.parquet")
    found = {"methods": reports, "best_method": consensus.best_method(reports), "alarm": verdict.as_dict()}
    files.write_json(folder / "trust.json", found)


def _ask(data: PanelData, *, seed: int, progress: Callable[[float], None]) -> dict[str, pd.DataFrame]:
    """Probabilities by each voter of the panel, by its name, frames of shape (n_cells, n_labels)."""
    softs: dict[str, pd.DataFrame] = {}
    total, done = sum(voter.effort for voter in VOTERS), 0.0
    for kind in VOTERS:
        voter = kind(seed=seed)
        voter.fit(data)
        report = partial(_report_share, progress, done / total, voter.effort / total)
        softs[voter.name] = voter.probabilities(data, progress=report)
        done += voter.effort
        progress(done / total)
    return softs


def _report_share(progress: Callable[[float], None], before: float, part: float, share: float) -> None:
    """Report the share of the whole that is done when ``share`` of a part is, which begins at ``before``."""
    progress(before + part * share)


def _known_counts(prepared: Path) -> sp.csr_matrix:
    """Counts of the chosen genes, without those that a mapped query lacks: they would count as not expressed."""
    counts, _ = all_counts(prepared)
    genes = read_genes(prepared)
    if "padded" in genes:
        counts = counts[:, ~genes.loc[genes["highly_variable"], "padded"].to_numpy()]
    return counts


def _mask(rows: np.ndarray, n_cells: int) -> np.ndarray:
    """Which cells are among ``rows``, shape (n_cells,)."""
    return np.isin(np.arange(n_cells), rows)
