"""A lab at the app while a training runs: ``python -m benchmarks.load.sessions``, about seven minutes.

25 sessions click through Explore and Compare of a finished run of 16,000 cells, in a home with 500 past runs, while a
worker trains. Sessions are light clients of Streamlit's own websocket (:mod:`.visitor`): as many Chromium tabs on two
cores would measure Chromium. One real Chromium does the same at the end, as a check.
"""

import argparse
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from benchmarks.load.finished_runs import finished_run
from benchmarks.load.visitor import Visitor, wait_until
from benchmarks.tables import keep, table
from labeltransfer.data.demo.simulate import demo_params, simulate
from labeltransfer.params import IntegrateParams
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.start import executors
from tests.support.browser import choose, chromium, chromium_path, click_a_tile, open_page, serving, step

N_CELLS, N_GENES = 16_000, 2_000
BETWEEN_CLICKS = (5.0, 10.0)
"""Seconds that a person looks before the next click, at least and at most; drawn evenly."""

LIMIT_CLICK, LIMIT_RUNS, LIMIT_SLOWER = 1.5, 1.0, 1 / 3
"""Seconds of the 95th percentile of a click, and of the Runs page; share by which training may become slower."""

COLOURS = ("Predicted label", "Observed label", "Confidence", "Technology", "Batch", "Counts per cell")
VIEWS = ("Side by side", "Overlaid", "Reference", "Query")
TITLE = "Load: many sessions during a training"


@dataclass
class Clicks:
    """Seconds of every click by kind, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, seconds: float, wrong: list[str]) -> None:
        with self.lock:
            self.seconds.setdefault(kind, []).append(seconds)
            self.wrong += [f"{kind}: {what}" for what in wrong]

    def all(self) -> list[float]:
        return [one for kind in self.seconds.values() for one in kind]


def past_runs(store: Store, example: Run, n_runs: int) -> None:
    """Write finished runs with settings and results of their own size; their artefacts are those of one run."""
    for number in range(n_runs):
        query = example.params.query.model_copy(update={"path": f"query-{number}.h5ad"})
        params = example.params.model_copy(update={"name": f"past run {number}", "query": query})
        run = store.create(params)
        for stage, key in example.stage_keys().items():
            store.claim_stage(run, stage, key)
        run.write_status(example.status())


def tiles_of(run: Run) -> list[tuple[str, str]]:
    """Tiles of the confusion matrix that have cells, as observed and predicted label."""
    counts = evaluate.confusion(read_cells(run.artefacts.cells), side="query")
    counts = counts[counts["n_cells"] > 0]
    return list(zip(counts["observed_label"], counts["predicted_label"], strict=True))


def next_click(visitor: Visitor, run: Run, tiles: list[tuple[str, str]], rng: random.Random) -> tuple[str, float]:
    """One click as a person might do it; what was clicked and the seconds it took."""
    if rng.random() < 0.15:
        to = "compare" if visitor.page == "explore" else "explore"
        return f"go to {to.title()}", visitor.open(to, run=run.id)
    if visitor.page == "explore":
        kind = rng.choice(("another colour", "another gene", "other cells", "the other map", "names"))
        if kind == "another colour":
            return kind, visitor.choose("Colour", rng.choice(COLOURS))
        if kind == "another gene":
            if "Gene" not in visitor.labels("selectbox"):
                return "colour by gene", visitor.choose("Colour", "Gene expression")
            return kind, visitor.choose("Gene", rng.choice(visitor.options("Gene")[:200]))
        if kind == "other cells":
            return kind, visitor.segment("Cells", rng.choice(VIEWS))
        if kind == "the other map":
            return kind, visitor.segment("Map of", rng.choice(("scANVI", "scVI")))
        return kind, visitor.switch("Names on the map", rng.random() < 0.5)
    if rng.random() < 0.2:
        return "what tiles show", visitor.segment(
            "Tiles show", rng.choice(("Share of observed", "Share of predicted", "Counts"))
        )
    observed, predicted = rng.choice(tiles)
    tile = {"observed_label": observed, "predicted_label": predicted}
    return "a tile of the matrix", visitor.select("vega_lite_chart", {"cell": [tile]})


def visit(
    port: int, run: Run, tiles: list[tuple[str, str]], *, seed: int, clicks: Clicks, over: threading.Event
) -> None:
    """One session, from its first page until it is asked to stop."""
    rng = random.Random(seed)
    if over.wait(rng.uniform(0, BETWEEN_CLICKS[1])):
        return
    kind = "session"
    try:
        with Visitor(port, dark=seed % 3 == 0) as visitor:
            clicks.add("first page", visitor.open(rng.choice(("explore", "compare")), run=run.id), visitor.errors())
            while not over.wait(rng.uniform(*BETWEEN_CLICKS)):
                kind, seconds = next_click(visitor, run, tiles, rng)
                clicks.add(kind, seconds, visitor.errors())
    except Exception as error:  # noqa: BLE001  a session that breaks is what is counted here
        clicks.wrong.append(f"{kind}: {type(error).__name__}: {error}")


def browser_clicks(url: str, run: Run) -> dict[str, float]:
    """Seconds of a few clicks in Chromium, drawing included, while the others go on."""
    found: dict[str, float] = {}

    def timed(what: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        found[what] = time.perf_counter() - start

    with chromium() as browser:
        page = open_page(browser, f"{url}/explore?run={run.id}")
        timed("another colour", partial(choose, page, "Colour", "Confidence"))
        timed("another gene", partial(choose, page, "Colour", "Gene expression"))
        timed("go to Compare", partial(step, page, "Compare"))
        timed("find and click a tile", partial(click_a_tile, page))
        page.context.close()
    return found


def pace(run: Run, since: float, until: float) -> list[float]:
    """Seconds of the epochs that began and ended between two times."""
    return [e["seconds"] for e in run.events("epoch") if e["time"] - e["seconds"] >= since and e["time"] <= until]


def start_training(store: Store, folder: Path) -> Run:
    """Start a long training of scVI on the demo's 3,600 cells and 2,000 genes, and wait for its first epochs."""
    simulate(folder)
    params = demo_params(folder).model_copy(
        update={"integrate": IntegrateParams(max_epochs=2000, early_stopping=False), "name": "the training"}
    )
    run = store.create(params)
    executors.start(run)
    if not wait_until(lambda: len(run.events("epoch")) >= 3, 240):
        raise SystemExit(f"The training did not begin: {run.status()}\n{run.log_tail()}")
    return run


@dataclass(frozen=True)
class Measured:
    """What a session of load showed; memory in bytes, times in seconds."""

    alone: list[float]
    under_load: list[float]
    memory_one: int
    memory_half: int
    memory_end: int
    client_share: float
    app_share: float
    worker_share: float
    browser: dict[str, float]


def load(app_pid: int, port: int, run: Run, training: Run, clicks: Clicks, asked: argparse.Namespace) -> Measured:
    """Alone, under the load of the sessions, alone again; then Chromium."""
    app, tiles = psutil.Process(app_pid), tiles_of(run)
    with Visitor(port) as first:
        first.open("explore", run=run.id)
        first.open("compare", run=run.id)
        first.select(
            "vega_lite_chart", {"cell": [dict(zip(("observed_label", "predicted_label"), tiles[0], strict=True))]}
        )
        memory_one = app.memory_info().rss
    quiet = [time.time()]
    time.sleep(asked.alone)
    quiet.append(time.time())

    over = threading.Event()
    sessions = [
        threading.Thread(
            target=visit, args=(port, run, tiles), kwargs={"seed": seed, "clicks": clicks, "over": over}, daemon=True
        )
        for seed in range(asked.sessions)
    ]
    worker = next(p for p in psutil.process_iter() if _works_on(p, training))
    busy = [time.time()]
    spent = [_spent(app), _spent(worker), time.process_time()]
    for session in sessions:
        session.start()
    time.sleep(asked.seconds / 2)
    memory_half = app.memory_info().rss
    time.sleep(asked.seconds / 2)
    busy.append(time.time())
    took = busy[1] - busy[0]
    shares = [
        (now - before) / took
        for now, before in zip((_spent(app), _spent(worker), time.process_time()), spent, strict=True)
    ]
    memory_end = app.memory_info().rss
    browser = browser_clicks(f"http://127.0.0.1:{port}", run) if asked.browser else {}
    over.set()
    for session in sessions:
        session.join(60)
    quiet.append(time.time())
    time.sleep(asked.alone)
    quiet.append(time.time())
    alone = pace(training, quiet[0], quiet[1]) + pace(training, quiet[2], quiet[3])
    return Measured(
        alone, pace(training, *busy), memory_one, memory_half, memory_end, shares[2], shares[0], shares[1], browser
    )


def _works_on(process: psutil.Process, run: Run) -> bool:
    try:
        return str(run.folder) in process.cmdline()
    except psutil.Error:
        return False


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def runs_page(port: int) -> list[float]:
    """Seconds in which the Runs page opens, each time in a new session; the first one after the app has started."""
    found = []
    for _ in range(6):
        with Visitor(port) as visitor:
            found.append(visitor.open("runs"))
            if visitor.errors() or not visitor.tables():
                raise SystemExit(f"The Runs page failed: {visitor.errors()}")
    return found


def as_markdown(clicks: Clicks, measured: Measured, runs: list[float], asked: argparse.Namespace) -> str:
    """The figures as Markdown."""
    every = clicks.all()
    slow = float(np.percentile(every, 95))
    slower = median(measured.under_load) / median(measured.alone) - 1
    own = (measured.memory_end - measured.memory_one) / max(1, asked.sessions - 1)
    seen = [
        ("errors", len(clicks.wrong), 0, not clicks.wrong),
        ("95th percentile of a click", f"{slow:.2f} s", f"{LIMIT_CLICK} s", slow < LIMIT_CLICK),
        ("training slower by", f"{slower:.0%}", f"{LIMIT_SLOWER:.0%}", slower < LIMIT_SLOWER),
        (
            f"Runs page, {asked.runs} runs",
            f"{median(runs[1:]):.2f} s",
            f"{LIMIT_RUNS} s",
            median(runs[1:]) < LIMIT_RUNS,
        ),
    ]
    verdicts = [(what, value, limit, "holds" if good else "**missed**") for what, value, limit, good in seen]
    megabytes = {name: value / 2**20 for name, value in asdict(measured).items() if name.startswith("memory")}
    facts = [
        ("clicks", f"{len(every)} in {asked.seconds} s, {len(every) / asked.seconds:.1f} a second"),
        ("median click, slowest", f"{median(every):.2f} s, {max(every):.2f} s"),
        ("an epoch of scVI alone, with them", f"{median(measured.alone):.3f} s, {median(measured.under_load):.3f} s"),
        ("app's memory with one session", f"{megabytes['memory_one']:.0f} MiB"),
        (
            f"with {asked.sessions}, half-way and at the end",
            f"{megabytes['memory_half']:.0f}, {megabytes['memory_end']:.0f} MiB",
        ),
        (
            "by session: whole app, and each one more",
            f"{megabytes['memory_end'] / asked.sessions:.0f}, {own / 2**20:.0f} MiB",
        ),
        (
            "cores used by app, worker, clients",
            f"{measured.app_share:.2f}, {measured.worker_share:.2f}, {measured.client_share:.2f}",
        ),
        ("Runs page, right after the start", f"{runs[0]:.2f} s"),
        (
            "Chromium at the same time",
            ", ".join(f"{what} {s:.1f} s" for what, s in measured.browser.items()) or "left out",
        ),
    ]
    kinds = [
        (kind, len(own), f"{median(own):.2f}", f"{np.percentile(own, 95):.2f}")
        for kind, own in sorted(clicks.seconds.items())
    ]
    return "\n\n".join(
        (
            f"{asked.sessions} sessions on a run of {N_CELLS:,} cells, each with a click every "
            f"{BETWEEN_CLICKS[0]:.0f} to {BETWEEN_CLICKS[1]:.0f} s (seeded), in a home with {asked.runs} past runs. "
            "Clients speak Streamlit's websocket protocol and draw nothing; a click lasts until all that the page "
            "shows has arrived. The training is one of scVI on 3,600 cells; its pace alone was taken before and after, "
            "in the same run.",
            table(("what", "seen", "limit", ""), verdicts),
            table(("", ""), facts),
            table(("click", "times", "median, s", "95th percentile, s"), kinds),
        )
    )


def main() -> None:
    """Write the runs, start the app and the training, click, keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--seconds", type=int, default=120, help="of clicking")
    parser.add_argument("--alone", type=int, default=30, help="seconds of training alone, before and after")
    parser.add_argument("--runs", type=int, default=500, help="past runs in the home")
    parser.add_argument("--no-browser", dest="browser", action="store_false")
    asked = parser.parse_args()
    asked.browser = asked.browser and chromium_path() is not None
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        home = Path(folder).resolve() / "home"
        os.environ["LABELTRANSFER_HOME"] = str(home)
        store = Store(home)
        run = finished_run(store, N_CELLS, n_genes=N_GENES)
        past_runs(store, run, asked.runs)
        with serving(home) as app:
            assert app.process is not None
            runs = runs_page(app.port)
            print("Runs page:", ", ".join(f"{seconds:.2f} s" for seconds in runs), flush=True)
            training = start_training(store, Path(folder) / "data")
            try:
                clicks = Clicks()
                measured = load(app.process.pid, app.port, run, training, clicks, asked)
            finally:
                training.request_cancel()
                wait_until(lambda: training.status().over, 60)
    for wrong in clicks.wrong[:20]:
        print("wrong:", wrong, flush=True)
    keep(TITLE, "python -m benchmarks.load.sessions", as_markdown(clicks, measured, runs, asked))


if __name__ == "__main__":
    main()
