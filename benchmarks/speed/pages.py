"""How long the pages take to run again, by number of cells: ``python -m benchmarks.speed.pages``.

Writes finished runs without training and visits them in one process, by Streamlit's own test runner: that is the
server's time, from the click to the last element sent, without network and browser. With ``--browser`` a real
Chromium visits the app as well, and the time is that from the click until nothing on the page is out of date any more.
Takes about two minutes on two cores, half of it to write the runs; ``--sizes 10000 16000`` takes half a minute.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import streamlit as st
from streamlit.testing.v1 import AppTest

from benchmarks.load.finished_runs import finished_run
from benchmarks.tables import keep, spread, table
from labeltransfer.results.maps.sampling import MOST_DRAWN
from labeltransfer.results.scores import evaluate
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from pages.shared import cached

ROOT = Path(__file__).resolve().parents[2]
SIZES = (10_000, 16_000, 100_000, 200_000, 1_050_000)
LIMITS = {16_000: 300, 200_000: 1000}
"""Milliseconds that a rerun may take, up to so many cells; nothing is promised beyond, and a second is wished for."""
N_RERUNS = 7
COLOURS = ("Observed label", "Confidence", "Technology", "Batch", "Counts per cell", "Genes per cell", "Side")
TITLE = "Pages: time of a rerun"
Action = tuple[str, Callable[[], object]]
Visit = tuple[str, "Spent", list["Spent"]]
"""What was done, time of the first visit, and of each rerun."""


def visit(page: str, run: Run) -> AppTest:
    """Open a page with a run, as the first visitor of a fresh server does."""
    st.cache_data.clear()
    st.cache_resource.clear()
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    at.query_params["run"] = run.id
    at.run()
    return at.switch_page(f"pages/{page}.py")


def actions(page: str, at: AppTest, run: Run) -> Iterator[Action]:
    """What a visitor does on a page, each time with something not seen before."""
    if page == "explore":
        colours = iter(COLOURS)
        yield "another colour", lambda: at.selectbox[0].set_value(next(colours)).run()
        at.selectbox[0].set_value("Gene expression").run()
        genes = iter(at.selectbox[1].options[20:])
        yield "another gene", lambda: at.selectbox[1].set_value(next(genes)).run()
    elif page == "compare":
        largest = evaluate.confusion(cached.cells(run)).sort_values("n_cells", ascending=False)
        tiles = zip(largest["observed_label"], largest["predicted_label"], strict=True)
        yield "click on a tile, the largest first", lambda: click(at, run, *next(tiles))
    elif page == "export":
        least = iter(x / 100 for x in range(5, 95, 5))
        yield "another threshold", lambda: at.slider[0].set_value(next(least)).run()
    else:
        yield "nothing changed", at.run


def click(at: AppTest, run: Run, observed: str, predicted: str) -> None:
    """Select a tile of the confusion matrix, as the browser would say it."""
    tile = {"observed_label": observed, "predicted_label": predicted}
    at.session_state[f"compare-matrix-{run.id}-query-observed"] = {"selection": {"cell": [tile]}}
    at.run()


@dataclass(frozen=True)
class Spent:
    """Milliseconds of an action by the clock, and those that this process computed, whatever else the machine did."""

    clock: float
    computing: float


def milliseconds(action: Callable[[], object]) -> Spent:
    """Time of an action."""
    start, computed = time.perf_counter(), time.process_time()
    action()
    return Spent(1000 * (time.perf_counter() - start), 1000 * (time.process_time() - computed))


def spent(at: AppTest, action: Callable[[], object]) -> Spent:
    """Time of an action; what goes wrong on the page is no measurement."""
    took = milliseconds(action)
    if at.exception or at.error:
        raise SystemExit(f"The page failed: {[*at.exception, *at.error]}")
    return took


def server_times(run: Run) -> Iterator[Visit]:
    """Visits of every page, each after the caches were emptied."""
    for page in ("explore", "compare", "export", "preprocess", "train", "runs", "data"):
        at = visit(page, run)
        first = spent(at, at.run)
        for what, action in actions(page, at, run):
            yield f"{page.title()}: {what}", first, [spent(at, action) for _ in range(N_RERUNS)]


def browser_times(home: Path, run: Run) -> Iterator[Visit]:
    """Explore and Compare in Chromium, from the click until the page is settled."""
    from tests.support.browser import choose, chromium, open_page, serving, settle, step

    def to(address: str) -> None:
        page.goto(address)
        settle(page)

    with serving(home) as app, chromium() as browser:
        page = open_page(browser, app.url)  # what every page needs is loaded
        first = milliseconds(partial(to, f"{app.url}/explore?run={run.id}"))
        yield "Explore: another colour", first, [milliseconds(partial(choose, page, "Colour", c)) for c in COLOURS]
        first = milliseconds(partial(step, page, "Compare"))
        again = []
        for _ in range(N_RERUNS):
            step(page, "Export")
            again.append(milliseconds(partial(step, page, "Compare")))
        yield "Compare: back from Export", first, again
        page.context.close()


def rows(n_cells: int, visits: Iterator[Visit], where: str) -> Iterator[tuple[Any, ...]]:
    """Lines of the table."""
    limit = next((limit for most, limit in LIMITS.items() if n_cells <= most), None)
    for what, first, again in visits:
        clock, computing = [one.clock for one in again], [one.computing for one in again]
        missed = " missed" if limit is not None and median(clock) > limit else ""
        yield (
            f"{n_cells:,}",
            what,
            where,
            spread(clock, ".0f"),
            f"{median(computing):.0f}" if where == "server" else "",
            f"{limit:,}{missed}" if limit is not None else "none",
            f"{first.clock:.0f}",
        )


def main() -> None:
    """Write the runs, visit them, keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="CELLS")
    parser.add_argument("--browser", action="store_true", help="also in Chromium, which has to be installed")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's remarks on running without a server
    found: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["LABELTRANSFER_HOME"] = home
        for n_cells in asked.sizes:
            run = finished_run(default_store(), n_cells)
            found += rows(n_cells, server_times(run), "server")
            if asked.browser:
                found += rows(n_cells, browser_times(Path(home), run), "Chromium")
            print(f"{n_cells:,} cells are done", flush=True)
    header = ("cells", "page and action", "where", "rerun, ms", "computing, ms", "limit, ms", "first visit, ms")
    text = (
        f"Median (smallest to largest) of {N_RERUNS} reruns, each with something not seen before; a first visit finds "
        "nothing in memory. *Server*: Streamlit's own test runner, without network and browser; *computing* is its "
        f"processor time, which other work on the machine does not add to. Maps draw at most {MOST_DRAWN:,} cells; "
        "tables, scores and exports take all.\n\n"
    )
    sizes = "" if tuple(asked.sizes) == SIZES else f" --sizes {' '.join(map(str, asked.sizes))}"
    command = f"python -m benchmarks.speed.pages{sizes}{' --browser' if asked.browser else ''}"
    keep(TITLE, command, text + table(header, found))


if __name__ == "__main__":
    main()
