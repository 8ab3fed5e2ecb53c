"""Planted errors of annotation, and which of them the label audit finds: ``python -m benchmarks.quality.audit``.

A pair of files is simulated for each seed and run as the command line runs it. Labels of the query are not used in
training, so one run serves all scenarios: errors are planted into its observed labels afterwards. Swapped labels are
drawn at random from those that both sides have, related types and labels of a few cells included. The real pairs
are audited as they are: what is suspected there is printed with its evidence, for a reader to judge.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.pairs import FILES, SHARED, Pair, find_pair
from benchmarks.tables import keep, table
from labeltransfer.data.prepare.prepared import all_counts, read_genes
from labeltransfer.params import UNKNOWN
from labeltransfer.results.audit.audit import Audit, audit
from labeltransfer.results.audit.evidence import FEWEST_CELLS
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store

NOISE = 0.02
"""Share of query cells that get any other label."""
SIZE = ("--reference-cells", "1500", "--query-cells", "3000", "--genes", "3000")
HEADER = ["scenario", "errors", "wrong classes", "found", "right partner", "false", "recall", "precision"]
HEADER += ["runs without a false class", "single cells wrong", "found", "false", "seconds"]


@dataclass(frozen=True)
class Trained:
    """What the audit takes, of one finished run."""

    cells: pd.DataFrame
    latent: np.ndarray
    counts: sp.csr_matrix
    genes: list[str]

    def audit(self, observed: np.ndarray) -> Audit:
        """Audit the same run with other observed labels."""
        cells = self.cells.assign(observed_label=pd.Categorical(observed))
        return audit(cells, self.latent, self.counts, genes=self.genes)

    @property
    def observed(self) -> np.ndarray:
        labels = self.cells["observed_label"].astype(object)
        return labels.to_numpy(dtype=object)


def train(pair: Pair, scratch: Path, *, seed: int, preset: str) -> Trained:
    """Run a pair as the command line does."""
    home = scratch / "home"
    command = [sys.executable, "-m", "labeltransfer", "run", *pair.options(), "--preset", preset, "--seed", str(seed)]
    before = {run.id for run in Store(home).runs()} if home.exists() else set()
    ended = subprocess.run(
        [*command, "--out", str(scratch / "out")],
        env={**os.environ, "LABELTRANSFER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(ended.stdout + ended.stderr)
    run: Run = next(run for run in Store(home).runs() if run.id not in before)
    prepared = run.artefacts.prepared
    genes = read_genes(prepared)
    return Trained(
        read_cells(run.artefacts.cells),
        np.load(run.artefacts.scvi_latent),
        all_counts(prepared)[0],
        list(genes.index[genes["highly_variable"].to_numpy(bool)].astype(str)),
    )


def scenarios(shared: list[str], rng: np.random.Generator) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of scenarios, and what each label of the query is called in them."""
    order = [str(label) for label in rng.permutation(shared)]
    pairs = [dict([(a, b), (b, a)]) for a, b in zip(order[::2], order[1::2], strict=False)]
    cycle = {order[0]: order[1], order[1]: order[2], order[2]: order[0]}
    yield "clean", {}
    yield "1 swap", pairs[0]
    yield "2 swaps", pairs[0] | pairs[1]
    yield "4 swaps", pairs[0] | pairs[1] | pairs[2] | pairs[3]
    yield "cycle of three", cycle
    yield "cycle and swap", cycle | pairs[2]


def planted(
    trained: Trained, called: Mapping[str, str], *, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Observed labels with errors, and which cells have a random one, both of shape (n_cells,)."""
    observed = trained.observed.copy()
    rows = np.flatnonzero((trained.cells["side"] == "query").to_numpy() & pd.notna(observed))
    observed[rows] = [called.get(label, label) for label in observed[rows]]
    hit = np.zeros(len(observed), bool)
    hit[rows] = rng.random(len(rows)) < noise
    names = sorted(set(observed[rows]))
    for row in np.flatnonzero(hit):
        observed[row] = rng.choice([name for name in names if name != observed[row]])
    return observed, hit


def judged(found: Audit, observed: np.ndarray, hit: np.ndarray, called: Mapping[str, str]) -> dict[str, float]:
    """Counts of what was planted and found, one audit."""
    truth = {name: label for label, name in called.items()}
    classes = found.table[found.table["kind"] != "cells"]
    partners = dict(zip(classes["observed_label"], classes["partner_label"], strict=True))
    # In a class that is wrong as a whole a corrected cell is no single one: those are counted in the other classes.
    audited = found.cells["audited_label"].astype(object).to_numpy()
    sound = pd.notna(observed) & ~pd.Series(observed).isin(truth).to_numpy()
    changed = sound & (audited != observed)
    return {
        "wrong": len(truth),
        "found": sum(name in partners for name in truth),
        "partner": sum(partners.get(name) == label for name, label in truth.items()),
        "false": sum(name not in truth for name in partners),
        "quiet": float(all(name in truth for name in partners)),
        "cells": int((hit & sound).sum()),
        "cells_found": int((hit & changed).sum()),
        "cells_false": int((changed & ~hit).sum()),
    }


def row(scenario: str, noise: float, part: pd.DataFrame) -> list[str]:
    """One line of the table, over all seeds."""
    total = part.sum(numeric_only=True)
    share = [
        f"{a / b:.3f}" if b else "–" for a, b in [(total.found, total.wrong), (total.found, total.found + total.false)]
    ]
    counts = [f"{total[name]:.0f}" for name in ("wrong", "found", "partner", "false")]
    quiet = f"{total.quiet:.0f} of {len(part)}"
    cells = [f"{total[name]:.0f}" for name in ("cells", "cells_found", "cells_false")]
    errors = f"{noise:.0%} of cells" if noise else "none more"
    return [scenario, errors, *counts, *share, quiet, *cells, f"{part['seconds'].median():.1f}"]


def simulated(seed: int, scratch: Path) -> Pair:
    """The tutorial's pair, smaller."""
    folder = scratch / f"pair{seed}"
    command = [sys.executable, str(SHARED / "tools" / "simulate_marrow.py"), str(folder), *SIZE, "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    filters = ("tissue=Marrow", "sex=female")
    lengths = SHARED / "data" / "gene_len.txt"
    return Pair(folder / "facs.h5ad", folder / "droplet.h5ad", "cell_ontology_class", filters, lengths)


def shared_labels(trained: Trained) -> list[str]:
    """Labels that both sides have, with enough query cells to be judged as a class."""
    sides = [trained.cells.loc[trained.cells["side"] == side, "observed_label"] for side in ("reference", "query")]
    counts = sides[1].value_counts()
    known = set(sides[0].dropna()) - {UNKNOWN}
    return sorted(str(label) for label, n in counts.items() if n >= FEWEST_CELLS and label in known)


def main() -> None:
    """Simulate, train, plant and audit, seed by seed; print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--preset", choices=["fast", "quick"], default="fast")
    parser.add_argument("--pairs", nargs="*", choices=list(FILES), default=list(FILES))
    options = parser.parse_args()
    lines: list[dict[str, object]] = []
    real: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for seed in options.seeds:
            trained = train(simulated(seed, scratch), scratch, seed=seed, preset=options.preset)
            rng = np.random.default_rng(seed)
            for scenario, called in scenarios(shared_labels(trained), rng):
                for noise in (0.0, NOISE):
                    observed, hit = planted(trained, called, noise=noise, rng=rng)
                    began = time.perf_counter()
                    found = trained.audit(observed)
                    seconds = time.perf_counter() - began
                    counted = judged(found, observed, hit, called)
                    lines.append({"scenario": scenario, "noise": noise, "seconds": seconds, **counted})
            print(f"seed {seed}: {pd.DataFrame(lines)[['wrong', 'found', 'false']].sum().to_dict()}", flush=True)
        for name in options.pairs:
            for seed in options.seeds[:3]:
                trained = train(find_pair(name, scratch), scratch, seed=seed, preset=options.preset)
                suspected = trained.audit(trained.observed).table
                for found_row in suspected.itertuples(index=False):
                    real.append([name, seed, *found_row])
                if suspected.empty:
                    real.append([name, seed, "–", "–", "–", "–", 0, "nothing is suspected"])
    seen = pd.DataFrame(lines)
    rows = [
        row(str(scenario), noise, seen[(seen["scenario"] == scenario) & (seen["noise"] == noise)])
        for scenario in seen["scenario"].unique()
        for noise in (0.0, NOISE)
    ]
    command = f"python -m benchmarks.quality.audit --preset {options.preset}"
    command += f" --seeds {' '.join(map(str, options.seeds))}"
    text = table(HEADER, rows)
    if real:
        names = ["pair", "seed", "observed label", "kind", "partner", "score", "cells", "evidence"]
        text += "\n\nThe real pairs as they are:\n\n" + table(names, real)
    keep("Planted errors of annotation, and what the audit finds", command, text)


if __name__ == "__main__":
    main()
