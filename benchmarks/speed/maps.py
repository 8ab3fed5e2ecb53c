"""How long does a map take, and how good is it? Plain pymde against ours, size by size.

``python -m benchmarks.speed.maps [--plain 10000:5 marrow:3 baron:5] [--alone 100000 1000000]``

Latents are the simulated tutorial's as scVI makes it (``marrow``), principal components of the real ``baron`` pair, and
of any size simulated groups; these lie so far apart that plain pymde's spectral start may take a quarter of an hour at
16,000 cells and more. Each map is made in a separate process, plain and ours in turn, so that the peak of memory is
the map's own; importing and reading the latent are not timed. Takes some 15 minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from benchmarks.pairs import find_pair, load
from benchmarks.tables import keep, spread, table
from labeltransfer.presets import PRESETS
from labeltransfer.processes import WAITING
from labeltransfer.results.maps.embed import mde, n_embedded
from labeltransfer.runs.queue.devices import peak_memory

SETTINGS: dict[str, Any] = {"embedding_dim": 2, "repulsive_fraction": 0.7, "n_neighbors": 15}
N_ASKED = 1000
"""Cells whose neighbours are compared."""
HEADER = (
    *("cells", "laid out", "route", "maps", "seconds", "CPU seconds", "seconds: plain / ours", "average distortion"),
    *("of 15 nearest, among 15", "among 50", "trustworthiness", "memory beyond the latent"),
)


def simulated(n_cells: int, *, n_groups: int = 20, seed: int = 0) -> np.ndarray:
    """Latent of groups of unlike size, each a curved sheet of one to three dimensions among 30, with noise.

    Returns
    -------
    Array of shape (n_cells, 30), float32.
    """
    rng = np.random.default_rng(seed)
    group = rng.choice(n_groups, n_cells, p=rng.dirichlet(np.ones(n_groups)))
    latent = np.empty((n_cells, 30), dtype=np.float32)
    for number in range(n_groups):
        own = np.flatnonzero(group == number)
        n_dims = int(rng.integers(1, 4))
        sheet = rng.uniform(-1, 1, (len(own), n_dims)) @ rng.standard_normal((n_dims, 30))
        sheet += np.sin(2 * sheet)
        latent[own] = 1.5 * rng.standard_normal(30) + 1.2 * sheet + 0.35 * rng.standard_normal((len(own), 30))
    return latent


def measured() -> np.ndarray:
    """First 30 principal components of log counts of the baron pair, array of shape (n_cells, 30), float32."""
    counts = load(find_pair("baron", Path())).layers["counts"].toarray()
    logs = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    left, values, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    return left[:, :30] * values[:30]


def trained() -> np.ndarray:
    """Latent of the simulated tutorial's cells, array of shape (n_cells, 30), after scVI's training in a quick look."""
    from labeltransfer.models.integrate import latent, train_scvi

    with tempfile.TemporaryDirectory() as scratch:
        adata = load(find_pair("marrow", Path(scratch)))
    quick: Any = PRESETS["quick"]["integrate"]
    return latent(train_scvi(adata, quick))


def latent_of(what: str) -> tuple[str, np.ndarray]:
    """Name and latent of ``marrow``, ``baron`` or a number of simulated cells."""
    if what.isdigit():
        return f"{int(what):,}", simulated(int(what))
    latent = {"marrow": trained, "baron": measured}[what]()
    return f"{len(latent):,} ({what})", latent


def plain(latent: np.ndarray, seed: int) -> np.ndarray:
    """Map of shape (n_cells, 2) as plain pymde makes it."""
    import pymde

    pymde.seed(seed)
    return pymde.preserve_neighbors(latent, constraint=pymde.Standardized(), **SETTINGS).embed().numpy()


def make_one(route: str, latent_file: Path, points_file: Path, seed: int) -> None:
    """Make one map in this process, write it, and print what it took as JSON."""
    import pymde  # noqa: F401, imported before the clock starts

    latent = np.load(latent_file)
    before = psutil.Process().memory_info().rss
    began, cpu = time.perf_counter(), time.process_time()
    points = plain(latent, seed) if route == "plain" else mde(latent, seed=seed)
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    np.save(points_file, points)
    print(json.dumps(took | {"memory": max(0, peak_memory() - before)}))


def quality(latent: np.ndarray, points: np.ndarray, seed: int) -> dict[str, float]:
    """Shares of ``N_ASKED`` cells' 15 nearest that stay near on the map, and trustworthiness of a sample of 3,000."""
    asked = np.random.default_rng(seed).choice(len(latent), min(N_ASKED, len(latent)), replace=False)
    near = [
        NearestNeighbors(n_neighbors=51).fit(rows).kneighbors(rows[asked], return_distance=False)[:, 1:]
        for rows in (latent, points)
    ]
    kept = {
        f"kept{k}": float(np.mean([len(np.intersect1d(a[:15], b[:k])) / 15 for a, b in zip(*near, strict=True)]))
        for k in (15, 50)
    }
    some = np.random.default_rng(seed).choice(len(latent), min(3000, len(latent)), replace=False)
    return kept | {"trust": float(trustworthiness(latent[some], points[some], n_neighbors=15))}


def distortions(latent: np.ndarray, maps: list[np.ndarray], seed: int) -> list[float]:
    """Average distortion of maps in the problem that plain pymde makes of the latent, so that it has the advantage."""
    import pymde
    import torch

    pymde.seed(seed)
    problem = pymde.preserve_neighbors(latent, constraint=pymde.Standardized(), init="random", **SETTINGS)
    return [float(problem.average_distortion(torch.from_numpy(points))) for points in maps]


def compare(name: str, latent: np.ndarray, routes: list[str], n_maps: int) -> list[list[str]]:
    """Make maps of one latent in turn with seeds 0, 1, …; returns a row a route."""
    results: dict[str, list[dict[str, float]]] = {route: [] for route in routes}
    with tempfile.TemporaryDirectory() as scratch:
        latent_file = Path(scratch) / "latent.npy"
        np.save(latent_file, latent)
        for seed in range(n_maps):
            maps = []
            for route in routes if seed % 2 == 0 else routes[::-1]:
                points_file = Path(scratch) / "points.npy"
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.speed.maps",
                    "--one",
                    route,
                    str(latent_file),
                    str(points_file),
                ]
                # Ours as the app starts its worker, plain as OpenMP has it.
                environment = os.environ | (WAITING if route == "ours" else {})
                done = subprocess.run([*command, str(seed)], check=True, env=environment, stdout=subprocess.PIPE)
                maps.append(np.load(points_file))
                took = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{name} cells, {route}, seed {seed}: {took['seconds']:.1f} s, {took['cpu']:.1f} s of CPU",
                    flush=True,
                )
                results[route].append(took | quality(latent, maps[-1], seed))
            # Beyond this size the problem itself takes minutes and gigabytes.
            values = distortions(latent, maps, seed) if len(latent) <= 200_000 else [np.nan] * len(maps)
            for route, value in zip(routes if seed % 2 == 0 else routes[::-1], values, strict=True):
                results[route][-1]["distortion"] = value
    return [_row(name, len(latent), route, results) for route in routes]


def _row(name: str, n_cells: int, route: str, results: dict[str, list[dict[str, float]]]) -> list[str]:
    """A row of the table."""

    def column(key: str, form: str) -> str:
        return spread([one[key] for one in results[route]], form)

    ratio = "–"
    if route == "ours" and "plain" in results:
        pairs = zip(results["plain"], results["ours"], strict=True)
        ratio = spread([theirs["seconds"] / ours["seconds"] for theirs, ours in pairs], ".1f")
    distortion = column("distortion", ".4f") if np.isfinite(results[route][0]["distortion"]) else "–"
    laid_out = n_embedded(n_cells) if route == "ours" else n_cells
    memory = f"{median(one['memory'] for one in results[route]) / 2**20:,.0f} MiB"
    shares = [column(key, ".3f") for key in ("kept15", "kept50", "trust")]
    times = [column("seconds", ".1f"), column("cpu", ".1f")]
    return [name, f"{laid_out:,}", route, str(len(results[route])), *times, ratio, distortion, *shares, memory]


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", nargs="*", default=["10000:5", "marrow:5", "baron:5"], metavar="WHAT:MAPS")
    parser.add_argument("--alone", nargs="*", default=["100000", "1000000"], metavar="WHAT")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        route, latent_file, points_file, seed = options.one
        make_one(route, Path(latent_file), Path(points_file), int(seed))
        return
    rows = []
    for what, pairs in (option.split(":") for option in options.plain):
        rows += compare(*latent_of(what), ["plain", "ours"], int(pairs))
    for what in options.alone:
        rows += compare(*latent_of(what), ["ours"], 1)
    text = (
        "Plain is `pymde.preserve_neighbors(…).embed()` with the same settings. Marrow is scVI's latent of the "
        "simulated tutorial, baron the principal components of a real pair, the others 20 simulated groups. "
        "Neighbours are those in the latent; average distortion is measured in plain pymde's own problem, lower is "
        "better; trustworthiness over 3,000 cells and 15 neighbours.\n\n"
    )
    keep("Maps", "python -m benchmarks.speed.maps", text + table(HEADER, rows))


if __name__ == "__main__":
    main()
