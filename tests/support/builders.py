"""Small made-up inputs that several test modules share."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.params import RunParams, run_params
from labeltransfer.results.scores.cells import CONSENSUS, METHODS
from labeltransfer.results.scores.evaluate import method_scores
from labeltransfer.results.trust.alarm import judge
from labeltransfer.results.trust.consensus import (
    VOTES,
    agreement_share,
    best_method,
    consensus_soft,
    held_out_report,
    opinion_table,
)
from labeltransfer.runs.library.reference_card import Card, mapping_params
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.run import Run


def unseal(run: Run) -> None:
    """Take the checksums away, as runs from before them have none, so that a test may change artefacts by hand."""
    for path in (run.root / "stages").glob(f"*/{checksums.FILE}"):
        path.unlink()


def opinions_of(soft: pd.DataFrame, **others: pd.DataFrame) -> pd.DataFrame:
    """Opinions as a run makes them: every method says what scANVI says, but for those given by name."""
    softs = {name: others.get(name, soft) for name in METHODS}
    consensus = consensus_soft(softs, dict.fromkeys(softs))
    table = opinion_table(softs | {CONSENSUS: consensus}, consensus)
    table["held_out"] = np.arange(len(soft)) % 10 == 0
    table["distance_percentile"] = np.linspace(0, 100, len(soft), dtype=np.float32)
    return table


def trust_of(cells: pd.DataFrame, soft: pd.DataFrame) -> dict[str, Any]:
    """``trust.json`` as a run writes it, from its table of cells."""
    held_out = cells["held_out"].to_numpy() & (cells["side"] == "reference").to_numpy()
    labels = cells["observed_label"].to_numpy(dtype=object)[held_out]
    reports = {name: held_out_report(soft[held_out], labels) for name in (*METHODS, CONSENSUS)}
    voters = [name for name in METHODS if VOTES[name]]
    agreement = agreement_share(cells["agreement"].to_numpy(), len(voters), CONSENSUS)
    percentile = cells["distance_percentile"].to_numpy()
    alarm = judge(agreement, percentile, (cells["side"] == "query").to_numpy(), held_out, mixed=1.0)
    found: dict[str, Any] = {"answer": CONSENSUS, "voters": voters, "absent": {}}
    found |= {"methods": reports, "best_method": best_method(reports), "alarm": alarm.as_dict()}
    return found | {"query": method_scores(cells)}


def mapped_params(card: Card, query: Path, **changes: object) -> RunParams:
    """Settings that map the small query, in as few epochs as show something."""
    settings = mapping_params(card)
    settings["transfer"]["max_epochs"] = 2
    side = {
        "path": str(query),
        "technology": "10x",
        "labels_key": "cell_ontology_class",
        "filters": {"tissue": ["Marrow"], "sex": ["female"]},
    }
    return run_params(settings | {"query": side} | changes)


def clouds(n_each: int = 60, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent of two clouds and a third far off, labels of the first two, and the rows that may be trained on."""
    rng = np.random.default_rng(seed)
    centres = np.repeat([[0.0, 0, 0], [8, 0, 0], [0, 50, 0]], n_each, axis=0)
    latent = (centres + rng.normal(size=centres.shape)).astype(np.float32)
    labels = np.repeat(np.array(["B", "T", "Unknown"], dtype=object), n_each)
    return latent, labels, np.flatnonzero(labels != "Unknown")
