"""Time and memory of a whole run against the number of query cells, and what training on a sample of them costs.

``python -m benchmarks.speed.atlas [--cells 10000 100000 1000000] [--preset fast] [--epochs N]``
``                           [--sampled-cells 30000] [--samples 3000 10000] [--seeds 0 1]``

Simulated pairs (``benchmarks.speed.atlas_data``) go through the command line, each in a separate process and home;
seconds and peak memory are those that each stage recorded. Generating 10^6 cells takes some 5 minutes and 3 GB of
disk, and the run over them 15 GB of disk: leave 1000000 out, or set --epochs 1, for a first look.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.speed.atlas_data import simulate_pair
from benchmarks.tables import keep, table
from labeltransfer.data.demo.simulate import LABELS_KEY
from labeltransfer.data.prepare.prepared import read_genes
from labeltransfer.runs.worker.stages import STAGE_TITLES

PLOT = Path(__file__).parents[1] / "atlas.svg"
GB = 1e9


def run(reference: Path, query: Path, scratch: Path, options: list[str]) -> dict[str, Any]:
    """One run through the command line: its metrics, wall-clock seconds and the stages' records."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        home, out = Path(folder, "home"), Path(folder, "out")
        command = [sys.executable, "-m", "labeltransfer", "run", "--reference", str(reference), "--query", str(query)]
        command += ["--labels-key", LABELS_KEY, "--out", str(out), *options]
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"LABELTRANSFER_HOME": str(home)})
        seconds = time.perf_counter() - began
        records = {
            json.loads(p.read_text())["stage"]: json.loads(p.read_text()) for p in home.glob("stages/*/stage.json")
        }
        metrics = json.loads((out / "metrics.json").read_text())
        sizes = counts_bytes(next(home.glob("stages/prepare-*/prepared.h5ad")))
    return {"metrics": metrics, "bytes": sizes, "seconds": seconds, "stages": records}


def counts_bytes(prepared: Path) -> dict[str, int]:
    """Bytes of the counts in memory, as CSR with four bytes a value and four an index: of all genes, of the chosen."""
    with h5py.File(prepared) as file:
        n_values = np.diff(file["layers/counts/indptr"][:].astype(np.int64))
    chosen = read_genes(prepared)["highly_variable"].to_numpy()
    return {"all shared genes": 8 * int(n_values.sum()), "the chosen genes": 8 * int(n_values[chosen].sum())}


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of a line through the logarithms of both."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def growth(sizes: list[int], runs: list[dict[str, Any]], data_bytes: list[int]) -> str:
    """Tables of seconds and of memory by stage, a column a size, with exponents."""
    sides = [f"{n:,}" for n in sizes]
    text = []
    for title, key, scale, form in (
        ("Seconds", "seconds", 1.0, ".1f"),
        ("Peak memory, GB", "peak_memory_bytes", GB, ".2f"),
    ):
        rows: list[list[object]] = []
        for stage, name in STAGE_TITLES.items():
            values = [r["stages"][stage].get(key, np.nan) / scale for r in runs]
            rows.append([name, *(f"{v:{form}}" for v in values), fitted(sizes, values)])
        if key == "seconds":
            whole = [r["seconds"] for r in runs]
            rows.append(["whole process", *(f"{v:{form}}" for v in whole), fitted(sizes, whole)])
        else:
            rows.append(["*the two input files on disk*", *(f"{b / GB:{form}}" for b in data_bytes), ""])
            for what in runs[0]["bytes"]:
                sizes_of = [r["bytes"][what] / GB for r in runs]
                rows.append(
                    [f"*counts of {what}, as CSR*", *(f"{b:{form}}" for b in sizes_of), fitted(sizes, sizes_of)]
                )
        text.append(table([title, *sides, "exponent"], rows))
    return "\n\n".join(text)


def fitted(sizes: list[int], values: list[float]) -> str:
    """The exponent in words; empty with one size."""
    return f"{exponent(sizes, values):.2f}" if len(sizes) > 1 and min(values) > 0 else ""


def plot(sizes: list[int], runs: list[dict[str, Any]]) -> None:
    """Seconds and memory against cells, both axes logarithmic, a line a stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, title, key, scale in zip(
        panels, ("seconds", "peak memory, GB"), ("seconds", "peak_memory_bytes"), (1.0, GB), strict=True
    ):
        for stage, name in STAGE_TITLES.items():
            panel.loglog(sizes, [r["stages"][stage].get(key, np.nan) / scale for r in runs], marker="o", label=name)
        panel.set(xlabel="query cells", ylabel=title)
        panel.grid(alpha=0.3, which="both")
    panels[0].legend(fontsize="small")
    figure.savefig(PLOT, metadata={"Date": None})


def cost_of_sampling(n_query: int, samples: list[int], scratch: Path, options: list[str], seeds: list[int]) -> str:
    """Scores with all query cells trained on against samples of them, a row a sample and seed."""
    reference, query = simulate_pair(scratch, n_reference=min(5000, n_query), n_query=n_query)
    rows = []
    for seed in seeds:
        for most in (n_query, *samples):
            found = run(reference, query, scratch, [*options, "--seed", str(seed), "--max-query-cells", str(most)])
            scores = found["metrics"]["query"]
            of = f"{most:,} of {n_query:,}" if most < n_query else f"all {n_query:,}"
            rows.append([of, seed, f"{scores['accuracy']:.4f}", f"{scores['macro_f1']:.4f}", f"{found['seconds']:.0f}"])
    scored = f"{scores['n_scored']:,} of {scores['n_cells']:,} query cells have a label that the reference has."
    return table(["query cells trained on", "seed", "accuracy", "macro-F1", "seconds"], rows) + f"\n\n{scored}"


def main() -> None:
    """Print and keep both tables, and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--reference-cells", type=int, default=50_000, help="at most half as many as the query has")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--epochs", type=int, help="of both trainings, for a first look; the preset's unless given")
    parser.add_argument("--sampled-cells", type=int, default=30_000, help="query of the second table; 0 leaves it out")
    parser.add_argument("--samples", type=int, nargs="+", default=[3000, 10_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--scratch", type=Path, help="folder for data and homes, some 25 GB for 10^6 cells; kept")
    asked = parser.parse_args()
    options = ["--preset", asked.preset]
    if asked.epochs:
        options += ["--scvi-epochs", str(asked.epochs), "--scanvi-epochs", str(asked.epochs)]
    with tempfile.TemporaryDirectory(dir=asked.scratch) as temporary:
        scratch = asked.scratch or Path(temporary)
        runs, data_bytes = [], []
        for n_query in asked.cells:
            pair = simulate_pair(scratch, n_reference=min(asked.reference_cells, n_query // 2), n_query=n_query)
            data_bytes.append(sum(path.stat().st_size for path in pair))
            runs.append(run(*pair, scratch, options))
        command = " ".join(["python -m benchmarks.speed.atlas", *sys.argv[1:]])
        about = f"Simulated, 4,000 genes, some 1,000 counts a query cell; options {' '.join(options)}."
        if runs:
            text = f"{about}\n\n{growth(asked.cells, runs, data_bytes)}"
            if len(runs) > 1:
                plot(asked.cells, runs)
                text += f"\n\n![Seconds and memory against query cells]({PLOT.name})"
            # A first look at all stages is kept next to the whole measurement, not in its place.
            cut = f", trainings of {asked.epochs} epochs" if asked.epochs else ""
            keep(f"Time and memory against the number of query cells{cut}", command, text)
        if asked.sampled_cells:
            costs = cost_of_sampling(asked.sampled_cells, asked.samples, scratch, options, asked.seeds)
            keep("What training on a sample of the query costs", command, f"{about}\n\n{costs}")


if __name__ == "__main__":
    main()
