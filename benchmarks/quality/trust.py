"""How good the checks of trust are where the truth is known: ``python -m benchmarks.quality.trust [--seeds N]``.

Ordinary runs through the command line: pairs that go well, and pairs with a shift between the technologies that scANVI
does not bridge; and the two real pairs. Printed are scores of scANVI and of the consensus, whether the alarm was raised
(it sees no observed label), calibration on held-out reference cells and on the query, the area under the risk-coverage
curve by the score that cells are kept by, and the time that the second opinions take. A run takes some twenty seconds
on a quiet machine, ten seeds of all pairs less than half an hour.
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

from benchmarks.pairs import FILES, find_pair
from benchmarks.tables import keep, spread, table
from labeltransfer.data.demo.simulate import LABELS_KEY, LENGTHS, QUERY, REFERENCE, simulate
from labeltransfer.results.trust.confidence import N_BINS, Reliability, reliability, risk_coverage

ECE_DRAWS = 200
"""Draws that the calibration error by chance alone is the mean of."""
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
    """The query counts each gene with a strong bias."""
    return folder / REFERENCE, reweigh(folder / QUERY, folder / "biased_query.h5ad", factor=1.0, seed=seed)


def deep(folder: Path, seed: int) -> tuple[Path, Path]:
    """10x reference; a full-length query, far deeper, with its lengths as they are and a strong bias."""
    return folder / QUERY, reweigh(folder / REFERENCE, folder / "deep_query.h5ad", factor=5.0, seed=seed)


def skewed(folder: Path, seed: int) -> tuple[Path, Path]:
    """10x on both sides, halves of the same cells: the query keeps a tenth of every other label, and has one more."""
    rng = np.random.default_rng(seed)
    adata = ad.read_h5ad(folder / QUERY)
    labels = adata.obs[LABELS_KEY].astype(object).to_numpy()
    shuffled = rng.permutation(adata.obs[LABELS_KEY].cat.categories.to_numpy())
    half, kept = rng.random(len(labels)) < 0.5, rng.random(len(labels)) < 0.1
    targets = folder / "half_reference.h5ad", folder / "skewed_query.h5ad"
    adata[half & (labels != shuffled[0])].write_h5ad(targets[0])
    adata[~half & (~np.isin(labels, shuffled[1::2]) | kept)].write_h5ad(targets[1])
    return targets


SCENARIOS = (
    Scenario("one technology, other composition", skewed, normalised=False),
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


def simulated(scenario: Scenario, folder: Path, seed: int) -> list[str]:
    """Options of the command line for a scenario made from the demo pair in ``folder``."""
    reference, query = scenario.make(folder, seed)
    options = ["--reference", str(reference), "--query", str(query), "--labels-key", LABELS_KEY]
    options += ["--filter-reference", "tissue=Marrow", "--filter-query", "tissue=Marrow"]
    lengths = ["--length-normalize", "reference", "--gene-lengths", str(folder / LENGTHS)]
    return options + (lengths if scenario.normalised else [])


def run(options: list[str], folder: Path, seed: int, preset: str) -> dict[str, Any]:
    """One run; its scores, alarm, curves and seconds per stage."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch, "out")
        command = [sys.executable, "-m", "labeltransfer", "run", *options, "--out", str(out)]
        command += ["--preset", preset, "--seed", str(seed)]
        environment = os.environ | {"LABELTRANSFER_HOME": str(Path(scratch, "home"))}
        subprocess.run(command, check=True, env=environment, capture_output=True)
        trust, metrics = (json.loads((out / f"{name}.json").read_text()) for name in ("trust", "metrics"))
        cells = pd.read_parquet(out / "cells.parquet")
    return {"trust": trust, "seconds": metrics["seconds"], **on_query(cells)}


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
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--pairs", nargs="*", choices=[*names, *FILES], default=[*names, *FILES])
    for name, n in (("reference", 900), ("query", 900), ("genes", 1500)):
        parser.add_argument(f"--n-{name}", type=int, default=n, help="size of the simulated pairs")
    options = parser.parse_args()
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.pairs]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.pairs}
    size = {"n_reference": options.n_reference, "n_query": options.n_query, "n_genes": options.n_genes}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            folder = Path(scratch, str(seed))
            folder.mkdir()
            if scenarios:
                simulate(folder, **size, seed=seed)
            asked = {scenario.name: simulated(scenario, folder, seed) for scenario in scenarios}
            asked |= {name: find_pair(name, folder).options() for name in FILES if name in options.pairs}
            for name, of_pair in asked.items():
                found[name].append(run(of_pair, folder, seed, options.preset))
                query, alarm = (found[name][-1]["trust"][part] for part in ("query", "alarm"))
                scores = {method: round(score["accuracy"], 3) for method, score in query.items()}
                print(name, seed, scores, alarm["level"], round(alarm["disagreement"], 2), flush=True)
    about = (
        f"Simulated pairs of {options.n_reference} reference and {options.n_query} query cells × {options.n_genes:,}"
    )
    about += f" genes, real ones as they are; {options.seeds} seeds, preset {options.preset}."
    parts = [about, *(make(found) for make in (transfers, alarms, calibration, rejection, time_added))]
    keep(
        "Trust" if set(options.pairs) - set(FILES) else "Trust on the real pairs",
        " ".join(["python -m benchmarks.quality.trust", *sys.argv[1:]]),
        "\n\n".join(parts),
    )


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
        chance = spread([by_chance(m["after"]) for m in own], ".3f")
        pooled = [pool([m[when] for m in own]) for when in ("before", "after")]
        of_all = [f"{ece:.3f}" for ece in (pooled[0].ece, pooled[1].ece, by_chance(vars(pooled[1])))]
        query = [spread([r[f"ece_{when}"] for r in runs], ".3f") for when in ("before", "after")]
        rows.append([name, f"{mean(m['n_cells'] for m in own):.0f}", *held_out, chance, *of_all, *query])
    header = ["pair", "held-out cells", "ECE there before", "after", "by chance"]
    header += ["all seeds' cells together, before", "after", "by chance", "ECE on the query before", "after"]
    about = (
        "Calibration error (ECE) of scANVI; after, on cells that the temperature was not fitted on. By chance: what as "
        "many cells of a perfectly calibrated method would show; it shrinks with the number of cells, so the held-out "
        "cells of all seeds are scored together as well."
    )
    return f"{about}\n\n{table(header, rows)}"


def pool(curves: list[dict[str, Any]]) -> Reliability:
    """One reliability curve over the cells of several, in the same ranges of confidence."""
    n_cells, confidence, accuracy = (
        np.concatenate([np.array(curve[part], dtype=float) for curve in curves])
        for part in ("n_cells", "confidence", "accuracy")
    )
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    total = np.bincount(bins, n_cells)
    some = total > 0
    sure, right = (np.bincount(bins, n_cells * values)[some] / total[some] for values in (confidence, accuracy))
    return Reliability(sure, right, total[some].astype(int))


def by_chance(curve: dict[str, Any], *, seed: int = 0) -> float:
    """Mean calibration error of a perfectly calibrated method with as many cells in the same bins."""
    n_cells, confidence = np.array(curve["n_cells"]), np.array(curve["confidence"], dtype=float)
    n_cells, confidence = n_cells[n_cells > 0], confidence[n_cells > 0].clip(0, 1)
    right = np.random.default_rng(seed).binomial(n_cells, confidence, (ECE_DRAWS, len(n_cells)))
    return float((np.abs(right - n_cells * confidence).sum(axis=1) / n_cells.sum()).mean())


def time_added(found: dict[str, list[dict[str, Any]]]) -> str:
    """Seconds of the stage ``opinions`` as a share of all other stages'."""
    rows = []
    for name, runs in found.items():
        own = [r["seconds"]["opinions"] for r in runs]
        rest = [sum(r["seconds"].values()) - r["seconds"]["opinions"] for r in runs]
        share = spread([100 * a / b for a, b in zip(own, rest, strict=True)], ".0f")
        rows.append([name, spread(own, ".1f"), spread(rest, ".1f"), share])
    return "Time of the second opinions.\n\n" + table(["pair", "opinions, s", "all else, s", "share, %"], rows)


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
