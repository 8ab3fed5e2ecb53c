"""Chosen cells by HTTP ranges against the whole file: ``python -m benchmarks.speed.remote``, about six minutes.

A server on this machine answers with a delay and over a line of a stated speed, both as a far one would. The file is
simulated; its wanted cells (female marrow) are together, as in an atlas that is ordered by tissue and animal, or
anywhere among the others, which is the worst case.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from benchmarks.tables import keep, spread, table
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry
from labeltransfer.data.catalogue.fetch import fetch
from labeltransfer.data.catalogue.remote import fetch_cells, fetch_table
from labeltransfer.data.catalogue.remote_table import read_table
from labeltransfer.data.intake.columns import filter_rows
from labeltransfer.errors import DownloadError
from labeltransfer.formats.h5ad.h5ad_file import open_h5ad, read_obs, read_rows, read_var
from tests.support.file_server import FileServer, serve

SIMULATOR = Path(__file__).resolve().parents[3] / "shared" / "tools" / "simulate_marrow.py"


@dataclass
class Route:
    """One way to the cells; bytes and requests as the server counts them, seconds of each repeat."""

    name: str
    n_bytes: int
    n_requests: int
    seconds: list[float]


def main() -> None:
    """Measure, check that each route gives the same cells, and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000, help="cells of the whole file")
    parser.add_argument("--wanted", type=float, default=0.05, help="share of them that is wanted")
    parser.add_argument("--rate", type=float, default=12.5, help="speed of the line in MB/s; 12.5 is 100 Mbit/s")
    parser.add_argument("--latency", type=float, default=20, help="delay of each answer in milliseconds")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for order, path in simulated(Path(scratch), asked.cells, asked.wanted).items():
            content = path.read_bytes()
            path.unlink()
            entry = replace(CATALOGUE["tms-droplet"], shape=shape_of(content, Path(scratch)))
            (Path(scratch) / order).mkdir()
            line = {"latency": asked.latency / 1000, "rate": asked.rate * 1e6, "keep_alive": True}
            with serve(content, **line) as parts, serve(content, ranges=False, **line) as whole:
                routes = measured(entry, parts, whole, asked.repeats, Path(scratch) / order)
            for route in routes:
                share = f"{route.n_bytes / 1e6:,.1f} ({route.n_bytes / len(content):.1%})"
                rows.append((order, route.name, share, route.n_requests, spread(route.seconds, ".1f")))
    text = (
        f"A simulated droplet file of {asked.cells:,} cells, of which {asked.wanted:.0%} are wanted; a line of "
        f"{asked.rate:g} MB/s, {asked.latency:g} ms before each answer; {asked.repeats} repeats in turns, median "
        "(smallest to largest). The cells were the same each time.\n\n"
    )
    header = ("Cells wanted are", "Route", "MB sent (of the file)", "Requests", "Seconds")
    keep("Reading parts of a remote file", "python -m benchmarks.speed.remote", text + table(header, rows))


def simulated(folder: Path, n_cells: int, wanted: float) -> dict[str, Path]:
    """The two files, by where their wanted cells are."""
    n_wanted = round(n_cells * wanted)
    command = [sys.executable, str(SIMULATOR), str(folder), "--reference-cells", "50", "--query-cells", str(n_wanted)]
    subprocess.run([*command, "--other-tissue", str(1 / wanted - 1)], check=True, stdout=subprocess.DEVNULL)
    cells = ad.read_h5ad(folder / "droplet.h5ad")
    # The simulator's unlabelled cells pass the filters as well; here only as many cells as asked for shall.
    tissue = cells.obs["tissue"].astype(str).where(cells.obs["cell_ontology_class"].notna(), "Lung")
    cells.obs["tissue"] = tissue.astype("category")
    order = np.lexsort([cells.obs[column].astype(str) for column in ("mouse.id", "sex", "tissue")])
    paths = {"together": folder / "together.h5ad", "anywhere": folder / "anywhere.h5ad"}
    cells[order].write_h5ad(paths["together"])
    cells.write_h5ad(paths["anywhere"])
    return paths


def shape_of(content: bytes, folder: Path) -> tuple[int, int]:
    """Cells and genes of a file."""
    path = folder / "shape.h5ad"
    path.write_bytes(content)
    shape = ad.read_h5ad(path, backed="r").shape
    path.unlink()
    return shape


def measured(entry: CatalogueEntry, parts: FileServer, whole: FileServer, repeats: int, folder: Path) -> list[Route]:
    """Take each route in turn, as often as asked, each time from nothing."""
    routes: dict[str, Route] = {}

    def take(name: str, server: FileServer, job: Callable[[], object]) -> None:
        n_bytes, n_requests, begin = server.n_sent, len(server.requests), time.perf_counter()
        job()
        seconds = time.perf_counter() - begin
        route = routes.setdefault(name, Route(name, 0, 0, []))
        route.seconds.append(seconds)
        route.n_bytes, route.n_requests = server.n_sent - n_bytes, len(server.requests) - n_requests

    for turn in range(repeats):
        os.environ["LABELTRANSFER_HOME"] = str(folder / f"parts{turn}")
        os.environ["LABELTRANSFER_MIRROR"] = parts.url
        take("parts: table of cells", parts, lambda: fetch_table(entry))
        take("parts: chosen cells", parts, lambda: fetch_cells(entry, entry.tutorial_filters))
        take("whole file, server with ranges", parts, lambda: fetch(entry))
        compare(entry)
        os.environ["LABELTRANSFER_HOME"] = str(folder / f"whole{turn}")
        os.environ["LABELTRANSFER_MIRROR"] = whole.url
        take("whole file, after a server without ranges was asked for parts", whole, lambda: fall_back(entry))
        fetch(entry).unlink()
    return list(routes.values())


def fall_back(entry: CatalogueEntry) -> None:
    """Ask for parts, learn that there are none, and take the whole file."""
    try:
        fetch_table(entry)
    except DownloadError:
        fetch(entry)
        return
    raise SystemExit("The server without ranges sent parts.")


def compare(entry: CatalogueEntry) -> None:
    """End with an error where the table or the chosen cells are not those of the whole file."""
    table, filters = read_table(fetch_table(entry)), entry.tutorial_filters
    with open_h5ad(fetch_cells(entry, filters)) as part, open_h5ad(fetch(entry)) as whole:
        obs, rows = read_obs(whole), np.flatnonzero(filter_rows(read_obs(whole), filters))
        pd.testing.assert_frame_equal(table.obs, obs)
        pd.testing.assert_frame_equal(read_obs(part), obs.iloc[rows])
        pd.testing.assert_frame_equal(read_var(part), read_var(whole))
        if (read_rows(part, "X") != read_rows(whole, "X", rows)).nnz:
            raise SystemExit("The chosen cells differ from those of the whole file.")
    fetch(entry).unlink()


if __name__ == "__main__":
    main()
