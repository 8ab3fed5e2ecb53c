"""The stage between training and scoring: what else could be said of each cell, and how far to believe any of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.classifiers import second_opinion
from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.neighbours import nearest_labelled
from labeltransfer.params import UNKNOWN
from labeltransfer.results.scores.cells import CONSENSUS
from labeltransfer.results.trust import alarm, consensus, distance
from labeltransfer.results.trust.confidence import calibrated
from labeltransfer.runs.records.run import Run
from labeltransfer.storage import files
from labeltransfer.training_labels import training_labels


def ask_others(
    run: Run,
    folder: Path,
    *,
    hidden: str | None = None,
    seed: int,
    say: Callable[[str], None],
    progress: Callable[[float], None],
) -> None:
    """Teach the second opinions on the reference, ask them of every cell, and weigh all by held-out reference cells.

    Writes ``opinions.parquet``, a row a cell as :func:`.consensus.opinion_table` makes it with ``held_out`` and
    ``distance_percentile``, and ``trust.json`` with ``methods`` (:func:`.consensus.held_out_report` of each),
    ``best_method`` and ``alarm``.

    Parameters
    ----------
    run
        A run whose counts are prepared and whose models are trained.
    folder
        Where to write.
    hidden
        A label that none is taught, see :func:`.training_labels.training_labels`.
    seed
        Seed of samples, trees and folds.
    say, progress
        Told what is being done, and the share of it that is.
    """
    prepared = run.artefact("prepare", "prepared.h5ad")
    obs = read_cells(prepared)
    latent = np.load(run.artefact(run.params.latent_stage, "latent.npy"))
    scanvi = pd.read_parquet(run.artefact("transfer", "soft.parquet"))
    held_out = np.load(run.artefact("transfer", "held_out.npy"))
    labels, names = training_labels(obs, hidden).to_numpy(dtype=object), list(consensus.names(scanvi))
    everyone, labelled = np.arange(len(obs)), np.flatnonzero(labels != UNKNOWN)
    taught = second_opinion.taught_on(labels, np.setdiff1d(labelled, held_out), seed=seed)

    say("Looking for each cell's nearest labelled cells")
    near = nearest_labelled(latent, taught, seed=seed)
    progress(0.1)
    say(f"Asking other classifiers, taught on {len(taught):,} reference cells")
    softs = {consensus.SCANVI: scanvi, "knn": second_opinion.knn_soft(near.rows, near.distances, labels, names)}
    softs["forest"] = second_opinion.forest_soft(latent, labels, taught, names, seed=seed)
    progress(0.4)
    counts, _ = all_counts(prepared)
    genes = read_genes(prepared)
    if "padded" in genes:  # what a mapped query lacks would testify as if it were not expressed
        counts = counts[:, ~genes.loc[genes["highly_variable"], "padded"].to_numpy()]
    softs["regression"] = second_opinion.regression_soft(
        counts, obs["n_counts"].to_numpy(), labels, taught, names, progress=lambda share: progress(0.4 + share / 2)
    )

    def report(soft: pd.DataFrame) -> dict[str, Any]:
        return consensus.held_out_report(soft.iloc[held_out], labels[held_out], seed=seed)

    reports = {name: report(soft) for name, soft in softs.items()}
    trusted = {name: calibrated(soft, reports[name]["temperature"]) for name, soft in softs.items()}
    combined = consensus.consensus_soft(trusted, {name: found["accuracy"] for name, found in reports.items()})
    reports[CONSENSUS] = report(combined)
    trusted[CONSENSUS] = calibrated(combined, reports[CONSENSUS]["temperature"])
    table = consensus.opinion_table(scanvi, trusted)
    table["held_out"] = np.isin(everyone, held_out)
    table["distance_percentile"] = distance.distance_percentile(near, np.isin(everyone, taught))
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
