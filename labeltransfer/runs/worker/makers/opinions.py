"""The stage between training and scoring: what else could be said of each cell, and how far to believe any of it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from labeltransfer.classifiers import VOTERS, PanelData, Voter, training_rows
from labeltransfer.data.prepare.prepared import all_counts, read_cells, read_genes
from labeltransfer.errors import RunCancelled
from labeltransfer.neighbours import nearest_labelled
from labeltransfer.params import UNKNOWN
from labeltransfer.results.scores.cells import METHODS
from labeltransfer.results.trust import alarm, consensus, distance
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.out_of_memory import out_of_memory
from labeltransfer.storage import files
from labeltransfer.training_labels import training_labels

LONGEST_REASON = 200
"""Characters of why a voter failed."""


def make(job: Job, folder: Path) -> None:
    """Train the panel on the reference, ask it about every cell, and put its answer together.

    Writes ``opinions.parquet``, a row a cell as :func:`.consensus.opinion_table` makes it with ``held_out`` and
    ``distance_percentile``; ``probabilities.parquet``, the answer's calibrated ones of shape (n_cells, n_labels); and
    ``trust.json`` with ``answer``, ``voters`` (names of those that have a vote), ``absent`` (voters that failed, and
    why), ``methods`` (:func:`.consensus.held_out_report` of each), ``best_method`` and ``alarm``. No classifier is
    trained on the label that the run hides.
    """
    run, seed, say, progress = job.run, job.params.seed, job.reporter.say, job.progress
    answer, left_out = job.params.panel.answer, job.params.panel.left_out
    latent = np.load(run.artefacts.latent(run.params.latent_stage))
    scanvi = pd.read_parquet(run.artefacts.soft)
    held_out = np.load(run.artefacts.held_out)
    obs = read_cells(run.artefacts.prepared)
    data = _panel_data(job, obs, latent, list(consensus.names(scanvi)), held_out)
    progress(0.1)
    say(f"Asking other classifiers, trained on {len(data.training_rows):,} reference cells")
    asked = [voter for voter in VOTERS if voter.name not in left_out]
    found, absent = ask(asked, data, seed=seed, progress=lambda share: progress(0.1 + 0.8 * share))
    for name, reason in absent.items():
        say(f"{METHODS[name]} sits out: {reason}")

    unseen = _unseen(obs)
    weighed = consensus.weigh({consensus.SCANVI: scanvi, **found}, held_out, data.labels, unseen=unseen, seed=seed)
    table = consensus.opinion_table(weighed.calibrated, weighed.raw[answer], answer=answer)
    table.loc[unseen, "agreement"] = 0  # none of them has seen anything
    table["held_out"] = _mask(held_out, len(table))
    table["distance_percentile"] = distance.distance_percentile(data.near, _mask(data.training_rows, len(table)))
    verdict = alarm.judge(
        consensus.agreement_share(table["agreement"].to_numpy(), len(weighed.voters), answer),
        table["distance_percentile"].to_numpy(),
        data.is_query,
        table["held_out"].to_numpy(),
        mixed=alarm.mixing(latent, data.is_query, seed=seed),
    )
    table.to_parquet(folder / "opinions.parquet")
    weighed.calibrated[answer].to_parquet(folder / "probabilities.parquet")
    trust = {
        "answer": answer,
        "voters": weighed.voters,
        "absent": absent,
        "methods": weighed.reports,
        "best_method": consensus.best_method(weighed.reports),
        "alarm": verdict.as_dict(),
    }
    files.write_json(folder / "trust.json", trust)


def _panel_data(job: Job, obs: pd.DataFrame, latent: np.ndarray, names: list[str], held_out: np.ndarray) -> PanelData:
    """What the panel gets; it is trained on none of the held-out cells."""
    labels = training_labels(obs, job.params.hidden_label).to_numpy(dtype=object)
    training = training_rows(labels, np.setdiff1d(np.flatnonzero(labels != UNKNOWN), held_out), seed=job.params.seed)
    job.reporter.say("Looking for each cell's nearest labelled cells")
    return PanelData(
        labels=labels,
        training_rows=training,
        names=names,
        latent=latent,
        near=nearest_labelled(latent, training, seed=job.params.seed),
        counts=cache(partial(_known_counts, job.run.artefacts.prepared)),
        n_counts=obs["n_counts"].to_numpy(),
        is_query=(obs["side"] == "query").to_numpy(),
    )


def ask(
    voters: Sequence[type[Voter]], data: PanelData, *, seed: int, progress: Callable[[float], None]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Probabilities by each voter, by its name, frames of shape (n_cells, n_labels), and why the others have none."""
    softs: dict[str, pd.DataFrame] = {}
    absent: dict[str, str] = {}
    total, done = sum(voter.effort for voter in voters), 0.0
    for kind in voters:
        voter = kind(seed=seed)
        report = partial(_report_share, progress, done / max(total, 1), kind.effort / max(total, 1))
        try:
            # By one thread: sums of several differ in the last bits by how many cores are free, and a regression makes
            # some 1e-4 of them. Then a seed would not settle the labels.
            with threadpool_limits(1):
                voter.fit(data)
                soft = voter.probabilities(data, progress=report)
            if not np.isfinite(soft.to_numpy()).all():
                raise ValueError("some of its probabilities are no numbers")
            softs[kind.name] = soft
        except (RunCancelled, OSError):
            raise
        except Exception as error:  # a library fails on an input in ways of its own; the others still answer
            if out_of_memory(error):
                raise
            absent[kind.name] = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        done += kind.effort
        progress(done / max(total, 1))
    return softs, absent


def _report_share(progress: Callable[[float], None], before: float, part: float, share: float) -> None:
    """Report the share of the whole that is done when ``share`` of a part is, which begins at ``before``."""
    progress(before + part * share)


def _unseen(obs: pd.DataFrame) -> np.ndarray:
    """Which cells have no count in the chosen genes, shape (n_cells,); none in tables of older versions."""
    return (obs["n_counts_chosen"] == 0).to_numpy() if "n_counts_chosen" in obs else np.zeros(len(obs), bool)


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
