"""Leave one label out: is a kind of cells that the reference lacks noticed?: ``python -m benchmarks.quality.hidden``.

Of each pair some reference labels are hidden in turn, as ``run --hide-label`` does, with the preset Fast and the scVI
model of the first run. A rule that costs 5 % of the other labels' held-out cells is chosen without the hidden ones;
the table shows how many of those it rejects. Labels with a close relative in the reference are listed apart: their
cells lie where their relative's do, and no distance separates them. Which label has one was decided beforehand, below.

Of the real pairs a hidden run takes a quarter of a minute to half a minute, of the simulated one two minutes.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from labeltransfer.processes import WAITING

os.environ |= WAITING  # as in the app's workers; before torch is imported

import pandas as pd

from benchmarks.pairs import PAIRS, SHARED, Pair, find_pair
from benchmarks.tables import keep, spread, table
from labeltransfer.params import RunParams
from labeltransfer.presets import PRESETS
from labeltransfer.results.trust.hidden_label import hidden_report
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start.related_runs import hiding_params
from labeltransfer.runs.worker.work import work

RELATIVES: dict[str, dict[str, str]] = {
    "pbmc": {
        "B": "",
        "Mono_CD14": "Mono_CD16",
        "Mono_CD16": "Mono_CD14",
        "NK": "T_CD8",
        "T_CD4": "T_CD8",
        "T_CD8": "T_CD4",
    },
    "baron": {
        "acinar": "",
        "ductal": "",
        "endothelial": "",
        "alpha": "gamma",
        "delta": "beta",
        "gamma": "alpha",
        "quiescent_stellate": "activated_stellate",
        "activated_stellate": "quiescent_stellate",
    },
    # Simulated: relatives share a marker programme, the others have one of their own.
    "marrow": {
        "basophil": "",
        "granulocyte": "",
        "granulocytopoietic cell": "",
        "granulocyte monocyte progenitor cell": "",
        "precursor B cell": "",
        "NK cell": "mature alpha-beta T cell",
        "macrophage": "promonocyte",
        "naive B cell": "immature B cell",
        "late pro-B cell": "early pro-B cell",
    },
}
"""Labels that are hidden, each with its closest relative in the reference, empty where it has none; of 20 cells up."""

AIM = 0.8
KINDS = {"confidence": "confidence", "distance": "distance", "both": "either"}
HEADER = ["pair", "hidden label", "cells", "mostly called", "by confidence", "by distance", "by either", "others lost"]


def run_params_of(pair: Pair, seed: int) -> RunParams:
    """Settings of the run that hides nothing."""
    return pair.params().model_copy(update={**PRESETS["fast"], "seed": seed})


def finish(store: Store, params: RunParams) -> pd.DataFrame:
    """Carry a run out and return its table of cells."""
    run = store.create(params)
    status = work(run)
    if status.state != "done":
        raise SystemExit(f"{params.name or 'The run that hides nothing'} {status.state}: {status.error}")
    return pd.read_parquet(run.artefacts.cells)


def reports(pair: Pair, labels: list[str], seed: int, store: Store) -> dict[str, dict[str, Any]]:
    """The report of each hidden label; scVI is trained once."""
    params = run_params_of(pair, seed)
    finish(store, params)
    return {label: hidden_report(finish(store, hiding_params(params, label)), label) for label in labels}


def row(name: str, label: str, found: list[dict[str, Any]]) -> list[str]:
    """One line of the table: medians over the seeds, with the smallest and the largest."""
    called = found[0]["swallowed_by"][0]
    shares = [[one["rules"][kind]["caught"] for one in found] for kind in KINDS]
    lost = [one["rules"]["both"]["lost"] for one in found]
    n_others = found[0]["rules"]["both"]["n_others"]
    counted = str(found[0]["rules"]["both"]["n_hidden"])
    mostly = f"{called['predicted_label']} ({called['share']:.0%})"
    return [name, label, counted, mostly, *map(spread, shares), f"{median(lost):.3f} of {n_others}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--labels", nargs="+", help="of those in RELATIVES (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    distinct, related = [], []
    caught: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch, "home"))
        for name in options.pairs:
            pair = find_pair(name, Path(scratch), options.shared.resolve())
            labels = [label for label in RELATIVES[name] if not options.labels or label in options.labels]
            found = [reports(pair, labels, seed, store) for seed in options.seeds]
            for label in labels:
                line = row(name, label, [one[label] for one in found])
                if relative := RELATIVES[name][label]:
                    related.append([*line[:2], relative, *line[2:]])
                else:
                    distinct.append(line)
                    for kind in KINDS:
                        caught[kind] += [one[label]["rules"][kind]["caught"] for one in found]
    text = "Share of the hidden label's reference cells that are rejected where the rule costs at most 5 % of the "
    text += f"held-out cells of the other labels; median of seeds {options.seeds} with the smallest and the largest."
    if distinct:
        reached = ", ".join(f"{sum(s >= AIM for s in caught[kind])} by {words}" for kind, words in KINDS.items())
        text += f"\n\nLabels without a close relative in the reference (of {len(caught['both'])} hidden runs reach "
        text += f"{AIM:.0%}: {reached}):\n\n" + table(HEADER, distinct)
    if related:
        head = [*HEADER[:2], "relative", *HEADER[2:]]
        text += "\n\nLabels with a close relative in the reference:\n\n" + table(head, related)
    title = "A label that the reference lacks"
    if set(options.pairs) != set(PAIRS):
        title += f": {', '.join(options.pairs)}"
    keep(title, " ".join(["python -m benchmarks.quality.hidden", *sys.argv[1:]]), text)


if __name__ == "__main__":
    main()
