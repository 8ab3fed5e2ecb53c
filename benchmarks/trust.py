"""What the checks of trust are worth where the truth is known: ``python -m benchmarks.trust [--seeds N]``.

Ordinary runs through the command line: pairs that go well, and pairs with a shift between the technologies that scANVI
does not bridge. Printed are scores of scANVI and of the consensus, whether the alarm was raised (it sees no observed
label), calibration on held-out reference cells and on the query, and the area under the risk-coverage curve by what
cells are kept by. A run takes some twenty seconds on a quiet machine, ten seeds of all scenarios a quarter of an hour.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from benchmarks.report import keep, spread, table
from labeltransfer.data.demo import LABELS_KEY, LENGTHS, QUERY, REFERENCE, simulate
from labeltransfer.results.confidence import reliability, risk_coverage

N_REFERENCE, N_QUERY, N_GENES = 900, 900, 1500
SUFFICIENT, FAILED = 0.9, 0.75
"""scANVI's accuracy above which a run went well, and below which it failed."""


@dataclass(frozen=True)
class Scenario:
    """A pair of files made from the demo's, and whether the reference's lengths are normalised."""

    name: str
    make: Callable[[Path, int], tuple[Path, Path]]
    normalised: bool


def plain(folder: Path, seed: int) -> tuple[Path, Path]:
    """Smart-seq2 reference, 10x query."""
    return folder / REFERENCE, folder / QUERY


def biased(folder: Path, seed: int) -> tuple[Path, Path]:
    """The query counts each gene with a strong bias of its own."""
    return folder / REFERENCE, reweigh(folder / QUERY, folder / "biased_query.h5ad", factor=1.0, seed=seed)


def deep(folder: Path, seed: int) -> tuple[Path, Path]:
    """10x reference; a full-length query, far deeper, with its lengths as they are and a strong bias."""
    return folder / QUERY, reweigh(folder / REFERENCE, folder / "deep_query.h5ad", factor=5.0, seed=seed)


SCENARIOS = (
    Scenario("as the demo", plain, normalised=True),
    Scenario("biased query", biased, normalised=True),
    Scenario("full-length query, far deeper", deep, normalised=False),
)


def reweigh(source: Path, target: Path, *, factor: float, seed: int) -> Path:
    """Counts drawn anew around ``factor`` times themselves times a lognormal bias of each gene (sigma 2)."""
    rng = np.random.default_rng(seed)
    adata = ad.read_h5ad(source)
    counts = adata.X.tocsr().copy()
    counts.data = rng.poisson(factor * counts.data * rng.lognormal(0, 2, adata.n_vars)[counts.indices]).astype("f4")
    counts.eliminate_zeros()
    adata.X = counts
    adata[np.diff(counts.indptr) > 20].write_h5ad(target)
    return target


def run(scenario: Scenario, folder: Path, seed: int, preset: str) -> dict[str, Any]:
    """One run; its scores, alarm and curves."""
    reference, query = scenario.make(folder, seed)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch, "out")
        command = [sys.executable, "-m", "labeltransfer", "run", "--reference", str(reference), "--query", str(query)]
        command += ["--labels-key", LABELS_KEY, "--out", str(out), "--preset", preset, "--seed", str(seed)]
        command += ["--filter-reference", "tissue=Marrow", "--filter-query", "tissue=Marrow"]
        if scenario.normalised:
            command += ["--length-normalize", "reference", "--gene-lengths", str(folder / LENGTHS)]
        environment = os.environ | {"LABELTRANSFER_HOME": str(Path(scratch, "home"))}
        subprocess.run(command, check=True, env=environment, capture_output=True)
        trust, cells = json.loads((out / "trust.json").read_text()), pd.read_parquet(out / "cells.parquet")
    return {"trust": trust, **on_query(cells)}


def on_query(cells: pd.DataFrame) -> dict[str, float]:
    """Calibration error on the query before and after, and areas under risk-coverage curves.

    ``risk_...`` are over scored cells; ``risk_all_...`` over all with an observed label, one that the reference lacks
    being wrong whatever was predicted.
    """
    known = set(cells.loc[cells["side"] == "reference", "observed_label"].dropna().astype(str))
    query = cells[(cells["side"] == "query") & cells["observed_label"].notna()]
    right = (query["observed_label"].astype(str) == query["predicted_label"].astype(str)).to_numpy()
    scored = query["observed_label"].astype(str).isin(known).to_numpy()
    scores = {
        "softmax": query["raw_confidence"].to_numpy(),
        "calibrated": query["confidence"].to_numpy(),
        "agreement, then calibrated": query["agreement"].to_numpy() + query["confidence"].to_numpy(),
        "distance": -query["distance_percentile"].to_numpy(),
    }
    found = {
        "ece_before": reliability(scores["softmax"][scored], right[scored]).ece,
        "ece_after": reliability(scores["calibrated"][scored], right[scored]).ece,
    }
    for name, score in scores.items():
        found[f"risk {name}"] = float(risk_coverage(score[scored], right[scored])[1].mean())
        found[f"risk all {name}"] = float(risk_coverage(score, right)[1].mean())
    return found


def main() -> None:
    """Run all, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--preset", default="quick")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {scenario.name: [] for scenario in SCENARIOS}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            folder = Path(scratch, str(seed))
            simulate(folder, n_reference=N_REFERENCE, n_query=N_QUERY, n_genes=N_GENES, seed=seed)
            for scenario in SCENARIOS:
                found[scenario.name].append(run(scenario, folder, seed, options.preset))
                query, alarm = (found[scenario.name][-1]["trust"][part] for part in ("query", "alarm"))
                scores = {name: round(method["accuracy"], 3) for name, method in query.items()}
                print(scenario.name, seed, scores, alarm["level"], round(alarm["disagreement"], 2), flush=True)
    about = f"Simulated, {N_REFERENCE} reference and {N_QUERY} query cells × {N_GENES:,} genes, {options.seeds} seeds"
    text = f"{about}, preset {options.preset}.\n\n{transfers(found)}\n\n{alarms(found)}\n\n{calibration(found)}"
    keep("Trust", f"python -m benchmarks.trust --seeds {options.seeds}", f"{text}\n\n{rejection(found)}")


def transfers(found: dict[str, list[dict[str, Any]]]) -> str:
    """Accuracy on the query's scored cells by method."""
    methods = ("scanvi", "knn", "forest", "regression", "consensus")
    rows = [
        [name, *(spread([r["trust"]["query"][m]["accuracy"] for r in runs], ".3f") for m in methods)]
        for name, runs in found.items()
    ]
    return "Accuracy on scored query cells.\n\n" + table(["pair", *methods], rows)


def alarms(found: dict[str, list[dict[str, Any]]]) -> str:
    """How often the alarm was raised, by how well scANVI did."""
    runs = [run for group in found.values() for run in group]
    rows = []
    ranges = ((f"above {SUFFICIENT}", SUFFICIENT, 2), (f"{FAILED} to {SUFFICIENT}", FAILED, SUFFICIENT))
    for words, low, high in (*ranges, (f"below {FAILED}", -1, FAILED)):
        some = [r["trust"] for r in runs if low < r["trust"]["query"]["scanvi"]["accuracy"] <= high]
        levels = [sum(t["alarm"]["level"] == level for t in some) for level in ("ok", "doubt", "alarm")]
        gain = [t["query"]["consensus"]["accuracy"] - t["query"]["scanvi"]["accuracy"] for t in some]
        rows.append([words, len(some), *levels, f"{mean(gain):+.3f} (lowest {min(gain):+.3f})" if gain else "–"])
    return table(["scANVI's accuracy", "runs", "ok", "doubt", "alarm", "consensus against scANVI"], rows)


def calibration(found: dict[str, list[dict[str, Any]]]) -> str:
    """Calibration error of scANVI."""
    rows = []
    for name, runs in found.items():
        own = [r["trust"]["methods"]["scanvi"] for r in runs]
        held_out = [spread([m[when]["ece"] for m in own], ".3f") for when in ("before", "after")]
        query = [spread([r[f"ece_{when}"] for r in runs], ".3f") for when in ("before", "after")]
        rows.append([name, f"{mean(m['n_cells'] for m in own):.0f}", *held_out, *query])
    header = ["pair", "held-out cells", "ECE there before", "after", "ECE on the query before", "after"]
    about = "Calibration error of scANVI; after, on cells that the temperature was not fitted on."
    return f"{about}\n\n{table(header, rows)}"


def rejection(found: dict[str, list[dict[str, Any]]]) -> str:
    """Areas under risk-coverage curves."""
    names = [key for key in next(iter(found.values()))[0] if key.startswith("risk ")]
    rows = [
        [name.removeprefix("risk "), *(spread([r[name] for r in runs], ".3f") for runs in found.values())]
        for name in names
    ]
    return (
        "Area under the risk-coverage curve, lower is better, by what cells are kept by; *all* counts cells of labels "
        "that the reference lacks as wrong.\n\n" + table(["kept by", *found], rows)
    )


if __name__ == "__main__":
    main()
