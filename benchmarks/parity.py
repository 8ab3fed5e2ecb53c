"""Does the app label as well as plain scvi-tools with the same settings? Prints both, pair by pair and seed by seed.

``python -m benchmarks.parity [--seeds 0 1 2] [--pairs pbmc baron] [--data DIR] [--out FILE.md]``
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

import anndata as ad
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

PAIRS = {"pbmc": "pbmc_3prime_to_5prime", "baron": "baron_h1_lib12_to_lib3"}
LABELS_KEY = "cell_type"
COLUMNS = "| pair | seed | accuracy: ours | plain | macro-F1: ours | plain | same label | seconds: ours | plain |"


def score(predictions: Path, query: Path, reference: Path) -> tuple[float, float, int]:
    """Accuracy and macro-F1 over the query cells whose label the reference has, and their number."""
    observed = ad.read_h5ad(query).obs[LABELS_KEY].astype(str)
    known = observed.isin(ad.read_h5ad(reference).obs[LABELS_KEY].astype(str).unique())
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


def compare(pair: str, seed: int, data: Path) -> tuple[list[float], int]:
    """Both routes on one pair with one seed.

    Returns
    -------
    Accuracy and macro-F1 of ours and of the plain route in turn, the share of query cells with the same label, the
    seconds of both; and the number of cells scored.
    """
    reference, query = (data / f"{PAIRS[pair]}_{side}.h5ad" for side in ("reference", "query"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        ours = [sys.executable, "-m", "labeltransfer", "run", "--reference", str(reference), "--query", str(query)]
        ours += ["--labels-key", LABELS_KEY, "--preset", "tutorial", "--seed", str(seed), "--out", str(out / "ours")]
        plain = [sys.executable, "-m", "benchmarks.plain", str(reference), str(query), LABELS_KEY, str(seed)]
        # A home of its own, so that no earlier run's stages are reused.
        ours_seconds = timed(ours, {"LABELTRANSFER_HOME": str(out / "home")})
        plain_seconds = timed([*plain, str(out / "plain.csv")], {})
        a, f, n = score(out / "ours" / "predictions.csv", query, reference)
        plain_a, plain_f, _ = score(out / "plain.csv", query, reference)
        same = agreement(out / "ours" / "predictions.csv", out / "plain.csv")
    return [a, plain_a, f, plain_f, same, ours_seconds, plain_seconds], n


def main() -> None:
    """Print the table, a row a pair and seed, then means, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "parity.md")
    options = parser.parse_args()
    lines = [
        "# The app against plain scvi-tools, tutorial settings",
        "",
        f"{platform.platform()}, {os.cpu_count()} cores, no GPU; `python -m benchmarks.parity`. Scored: query cells",
        "whose observed label the reference has. Seconds are whole processes on a shared machine, ours with both maps.",
        "",
        COLUMNS,
        "|" + "---|" * 9,
    ]
    print("\n".join(lines), flush=True)
    for pair in options.pairs:
        rows = []
        for seed in options.seeds:
            values, n_scored = compare(pair, seed, options.data)
            rows.append(values)
            cells = [f"{v:.3f}" for v in values[:5]] + [f"{v:.0f}" for v in values[5:]]
            lines.append(f"| {pair} (n = {n_scored}) | {seed} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
        if len(rows) > 1:
            spread = [f"{mean(c):.3f} ± {stdev(c):.3f}" for c in list(zip(*rows, strict=True))[:5]]
            spread += [f"{mean(c):.0f}" for c in list(zip(*rows, strict=True))[5:]]
            lines.append(f"| {pair} | mean ± sd | " + " | ".join(spread) + " |")
            print(lines[-1], flush=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
