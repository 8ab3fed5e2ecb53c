"""The whole job, two files in and a CSV out, against plain scvi-tools: ``python -m benchmarks.speed.whole_job``.

Both routes start as new processes, in turn: ours is the command line with a new home, the plain one is
``benchmarks.plain`` with the tutorial's settings. ``--preset tutorial`` shows that ours then labels as the plain route
does; ``--preset fast`` what the app does by default. A seed takes one to three minutes a pair.

``--tutorial-size`` takes simulated files of the tutorial's size instead, 4,200 and 11,707 cells. There the plain route
would take a quarter of an hour or more a seed, so its seconds are worked out from three short runs of it: they grow by
the same amount with each epoch. Its quality is not looked at (``benchmarks.quality.time_to_quality``
does that). A seed takes three to seven minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import get_args

import anndata as ad
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.pairs import FILES, SHARED, Pair, find_pair
from benchmarks.tables import keep, spread, table
from labeltransfer.presets import PRESETS, PresetName

HEADER = [
    "pair",
    "seed",
    "accuracy: ours",
    "plain",
    "macro-F1: ours",
    "plain",
    "same label",
    "s: ours",
    "plain",
    "ratio",
]


def score(predictions: Path, pair: Pair) -> tuple[float, float, int]:
    """Accuracy and macro-F1 over the query cells whose label the reference has, and their number."""
    observed = ad.read_h5ad(pair.query).obs[pair.labels_key].astype(str)
    known = observed.isin(ad.read_h5ad(pair.reference).obs[pair.labels_key].astype(str).unique())
    predicted = pd.read_csv(predictions, index_col="cell_id", dtype=str)["predicted_label"].loc[observed.index]
    truth, guess = observed[known], predicted[known]
    f1 = f1_score(truth, guess, average="macro", labels=sorted(truth.unique()))
    return float(accuracy_score(truth, guess)), float(f1), int(known.sum())


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Run a command to its end; returns its seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def agreement(first: Path, second: Path) -> float:
    """Share of query cells that two tables of predictions give the same label."""
    labels = [pd.read_csv(path, index_col="cell_id", dtype=str)["predicted_label"] for path in (first, second)]
    return float((labels[0] == labels[1].loc[labels[0].index]).mean())


def compare(pair: Pair, seed: int, preset: PresetName) -> tuple[list[float], int]:
    """Both routes on one pair with one seed.

    Returns
    -------
    Accuracy and macro-F1 of ours and of the plain route in turn, the share of query cells with the same label, the
    seconds of both; and the number of cells scored.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        ours = [sys.executable, "-m", "labeltransfer", "run", *pair.options(), "--preset", preset, "--seed", str(seed)]
        plain = [sys.executable, "-m", "benchmarks.plain", str(pair.reference), str(pair.query), pair.labels_key]
        # A new home, so that no earlier run's stages are reused.
        ours_seconds = timed([*ours, "--out", str(out / "ours")], {"LABELTRANSFER_HOME": str(out / "home")})
        plain_seconds = timed([*plain, str(seed), str(out / "plain.csv")], {})
        a, f, n = score(out / "ours" / "predictions.csv", pair)
        plain_a, plain_f, _ = score(out / "plain.csv", pair)
        same = agreement(out / "ours" / "predictions.csv", out / "plain.csv")
    return [a, plain_a, f, plain_f, same, ours_seconds, plain_seconds], n


SHORT = ((4, 2), (12, 2), (4, 6))
"""Epochs of scVI and scANVI of the short runs of the plain route."""
TUTORIAL_EPOCHS = (400, 20)


def tutorial_size(shared: Path, seeds: list[int]) -> None:
    """Seconds of both routes at the tutorial's size, a row a seed, and keep them."""
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as scratch:
        simulator = shared / "tools" / "simulate_marrow.py"
        subprocess.run([sys.executable, str(simulator), scratch, "--other-tissue", "0"], check=True)
        files, labels_key = [str(Path(scratch, f"{name}.h5ad")) for name in ("facs", "droplet")], "cell_ontology_class"
        ours = [sys.executable, "-m", "labeltransfer", "run", "--reference", files[0], "--query", files[1]]
        ours += ["--labels-key", labels_key, "--preset", "fast"]
        plain = [sys.executable, "-m", "benchmarks.plain", *files, labels_key]
        for seed in seeds:
            out = Path(scratch, f"out{seed}")
            home = {"LABELTRANSFER_HOME": str(Path(scratch, f"home{seed}"))}
            short = [timed([*plain, str(seed), f"{out}.csv", *map(str, epochs)], {}) for epochs in SHORT[:1]]
            seconds = timed([*ours, "--seed", str(seed), "--out", str(out)], home)
            short += [timed([*plain, str(seed), f"{out}.csv", *map(str, epochs)], {}) for epochs in SHORT[1:]]
            a_scvi = (short[1] - short[0]) / (SHORT[1][0] - SHORT[0][0])
            a_scanvi = (short[2] - short[0]) / (SHORT[2][1] - SHORT[0][1])
            begin = short[0] - SHORT[0][0] * a_scvi - SHORT[0][1] * a_scanvi
            estimate = begin + TUTORIAL_EPOCHS[0] * a_scvi + TUTORIAL_EPOCHS[1] * a_scanvi
            ratios.append(estimate / seconds)
            rows.append([seed, *(f"{s:.0f}" for s in (seconds, *short, estimate)), f"{ratios[-1]:.1f} ×"])
            print(rows[-1], flush=True)
    header = ["seed", "s: ours", *(f"plain, {a} and {b} epochs" for a, b in SHORT), "plain, 400 and 20 epochs", "ratio"]
    text = f"The last but one column is worked out.\n\n{table(header, rows)}\n\nMedian {spread(ratios, '.1f')} ×."
    keep("The whole job at the tutorial's size", "python -m benchmarks.speed.whole_job --tutorial-size", text)


def main() -> None:
    """Print the table, a row a pair and seed, then means, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=get_args(PresetName), default="fast")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--pairs", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds the pairs in data")
    parser.add_argument("--tutorial-size", action="store_true", help="simulated files of the tutorial's size instead")
    options = parser.parse_args()
    if options.tutorial_size:
        return tutorial_size(options.shared, options.seeds)
    lines: list[list[object]] = []
    for name in options.pairs:
        rows, n_scored = [], 0
        for seed in options.seeds:
            values, n_scored = compare(find_pair(name, Path(), options.shared), seed, options.preset)
            rows.append(values)
            ratio = f"{values[6] / values[5]:.1f} ×"
            lines.append([name, seed, *(f"{v:.3f}" for v in values[:5]), *(f"{v:.0f}" for v in values[5:]), ratio])
            print(lines[-1], flush=True)
        columns = list(zip(*rows, strict=True))
        ratio = spread([row[6] / row[5] for row in rows], ".1f") + " ×"
        means = [*(f"{mean(c):.3f}" for c in columns[:5]), *(f"{mean(c):.0f}" for c in columns[5:])]
        lines.append([f"**{name}**, {n_scored} scored", "mean", *means, ratio])
        command = f"python -m benchmarks.speed.whole_job --preset {options.preset}"
        keep(f"The whole job as a process, preset {options.preset.title()}", command, table(HEADER, lines))


if __name__ == "__main__":
    assert set(get_args(PresetName)) == set(PRESETS)
    main()
