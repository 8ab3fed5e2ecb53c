"""How long pages take with thousands of past runs: ``python -m benchmarks.load.past_runs``.

Writes run folders as finished runs leave them, each with results of its own, and visits every page in one process, by
Streamlit's own test runner: that is the server's time, without network and browser. The first look reads the state of
every run and all of those that are listed; the next ones find what they need in memory. Takes about two minutes.
"""

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import streamlit as st
from streamlit.testing.v1 import AppTest

from benchmarks.tables import keep, spread, table
from labeltransfer.params import RunParams, SideParams
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store, default_store

ROOT = Path(__file__).resolve().parents[2]
N_RUNS = 5000
N_RERUNS = 5
LIMIT = 1000
"""Milliseconds that the Runs page may take after the first look."""
PAGES = ("runs", "data", "preprocess", "train", "references")
TITLE = "Load: thousands of past runs"


def past_run(store: Store, number: int, ended: float) -> Run:
    """Write a run that ended at a time, with scores of its own."""
    sides = {side: SideParams(path=f"{side}-{number}.h5ad", technology="10x") for side in ("reference", "query")}
    run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(ended))}-{number:010d}"
    run = Run(store.root / "runs" / run_id)
    run.folder.mkdir(parents=True)
    (run.folder / "params.json").write_text(RunParams(name=f"run {number}", **sides).model_dump_json())
    (run.folder / "events.jsonl").write_text(json.dumps({"time": ended, "event": "end", "stage": "evaluate"}) + "\n")
    (run.folder / "log.txt").write_text("done\n")
    (run.folder / "stages.json").write_text(json.dumps({"evaluate": f"{number:016x}"}))
    run.write_status(
        Status(state="done", device="cpu", created=ended - 600, started=ended - 500, finished=ended, heartbeat=ended)
    )
    folder = store.stage_folder("evaluate", f"{number:016x}")
    folder.mkdir(parents=True)
    side = {
        "n_cells": 1000 + number,
        "n_scored": 900,
        "n_correct": 800,
        "n_labels": 9,
        "accuracy": 0.9,
        "macro_f1": 0.8,
    }
    (folder / "metrics.json").write_text(json.dumps({"reference": side, "query": side}))
    (folder / "cells.parquet").write_bytes(b"x" * 1000)
    checksums.seal(folder)
    return run


def times(page: str) -> tuple[float, list[float]]:
    """Milliseconds of the first look at a page, in a fresh process as far as kept results go, and of the next ones."""
    st.cache_data.clear()
    st.cache_resource.clear()
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    spent = []
    for visit in range(N_RERUNS + 1):
        began = time.perf_counter()
        at = at.switch_page(f"pages/{page}.py").run() if not visit else at.run()
        spent.append(1000 * (time.perf_counter() - began))
        assert not at.exception, at.exception
    return spent[0], spent[1:]


def main() -> None:
    """Write the runs, visit the pages, keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=N_RUNS, metavar="N")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's remarks on running without a server
    found = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["LABELTRANSFER_HOME"] = home
        store, now = default_store(), time.time()
        for number in range(asked.runs):
            past_run(store, number, now - 3600.0 * (number + 1))
        print(f"{asked.runs:,} runs are written", flush=True)
        for page in PAGES:
            first, again = times(page)
            limit = f"{LIMIT:,}" if page == "runs" else ""
            missed = " missed" if page == "runs" and median(again) > LIMIT else ""
            found.append((page.title(), spread(again, ".0f"), limit + missed, f"{first:.0f}"))
    text = (
        f"A home with {asked.runs:,} finished runs, each with scores of its own. Median (smallest to largest) of "
        f"{N_RERUNS} looks after the first one; *first look* is that of the first visitor to a server that has just "
        "started, who opens the pages in this order.\n\n"
    )
    runs = "" if asked.runs == N_RUNS else f" --runs {asked.runs}"
    header = ("page", "again, ms", "limit, ms", "first look, ms")
    keep(TITLE, f"python -m benchmarks.load.past_runs{runs}", text + table(header, found))


if __name__ == "__main__":
    main()
