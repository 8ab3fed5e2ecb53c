"""The main job in a real browser: from two files to labels as CSV, by clicking."""

import re
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")

from playwright.sync_api import Browser, Locator, Page, expect

from labeltransfer.data.demo.simulate import LABELS_KEY, simulate
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from tests.support.browser import (
    PAGES,
    Server,
    button,
    choose,
    chromium_path,
    click_a_tile,
    fill,
    heading,
    open_page,
    press,
    prose,
    serving,
    settle,
    step,
    too_wide,
)
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed on this machine"),
]

WIDTHS = (1366, 1024)
"""Pixels: a wide window, and a small one."""

N_REFERENCE, N_QUERY, N_WITHOUT_LABEL = 300, 300, 15
LONG = 2000
"""Epochs of a run that is still running when the tests have looked at it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, with a small demo pair in its data folder."""
    folder = tmp_path_factory.mktemp("app")
    simulate(folder / "data", n_reference=N_REFERENCE, n_query=N_QUERY, n_genes=700)
    with serving(folder / "home", folder / "data") as app:
        try:
            yield app
        finally:
            for run in Store(app.home).runs():
                run.request_cancel()
                wait_for(lambda run=run: run.status().over)


@pytest.fixture(scope="module")
def visitor(browser: Browser, server: Server) -> Page:
    """A person who goes all the way, one test after the other."""
    return open_page(browser, server.url)


@pytest.fixture(scope="module")
def chosen(visitor: Page) -> Page:
    """Both files chosen and filtered to female marrow."""
    for side, file in (("Reference", "reference.h5ad"), ("Query", "query.h5ad")):
        panel = side_panel(visitor, side)
        panel.get_by_text("Data folder", exact=True).click()
        choose(panel, "File", file)
        expect(panel.get_by_text("Cells used")).to_be_visible()
    for side in ("Reference", "Query"):
        choose(side_panel(visitor, side), "Tissue", "Marrow")
        choose(side_panel(visitor, side), "Sex", "female")
        expect(cells_used(visitor, side)).to_have_text(re.compile(rf"^{N_REFERENCE + 15 * (side == 'Query')} of \d+$"))
    return visitor


@pytest.fixture(scope="module")
def prepared(chosen: Page) -> Page:
    """Counts and genes prepared, lengths normalised with the table of the data folder."""
    press(chosen, "Continue to Preprocess")
    expect(heading(chosen, "Preprocess")).to_be_visible()
    chosen.get_by_role("radiogroup", name="Normalise by gene length").get_by_text("reference", exact=True).click()
    chosen.get_by_role("radiogroup", name="Gene-length table").get_by_text("Data folder", exact=True).click()
    choose(chosen, "Table", "gene_len.txt")
    expect(chosen.get_by_text("Read from gene_len.txt")).to_be_visible()
    fill(chosen, "Highly variable genes", 300)
    press(chosen, "Prepare")
    expect(button(chosen, "Continue to Train")).to_be_visible()
    settle(chosen)
    return chosen


@pytest.fixture(scope="module")
def finished(prepared: Page, server: Server) -> Page:
    """A run of few epochs, over before its first epoch could be distinguished from its last."""
    page = prepared
    if heading(page, "Preprocess").is_visible():
        press(page, "Continue to Train")
    else:
        press(page, "Start another run")
    settings(page, scvi_epochs=6, scanvi_epochs=2, cells_per_step=128)
    press(page, "Start training")
    expect(button(page, "Explore the result")).to_be_visible()
    settle(page)
    return page


def side_panel(page: Page, side: str) -> Locator:
    """One side of the Data page."""
    return page.get_by_test_id("stColumn").filter(has=page.get_by_role("heading", name=side))


def cells_used(page: Page, side: str) -> Locator:
    """The live count of one side."""
    metric = side_panel(page, side).get_by_test_id("stMetric").filter(has_text="Cells used")
    return metric.get_by_test_id("stMetricValue")


def settings(page: Page, *, scvi_epochs: int, scanvi_epochs: int, cells_per_step: int) -> None:
    """Set what decides how long a training takes, under Advanced, from a preset that never stops early."""
    page.get_by_text("Quick look", exact=True).click()
    expect(page.get_by_text("whether or not they suffice")).to_be_visible()
    settle(page)
    page.get_by_text("Advanced", exact=True).click()
    fill(page, "Epochs", scvi_epochs, which=0)
    fill(page, "Epochs", scanvi_epochs, which=1)
    fill(page, "Cells per step", cells_per_step, which=0)
    expect(page.get_by_text(re.compile(rf"{scvi_epochs} epochs of scVI and {scanvi_epochs} of"))).to_be_visible()


def run_of(page: Page, server: Server) -> Run:
    """The run that a page shows."""
    found = re.search(r"[?&]run=([\w-]+)", page.url)
    assert found, f"{page.url} names no run"
    return Store(server.home).run(found[1])


def epoch_shown(page: Page) -> int:
    """The epoch that the progress line shows."""
    line = page.get_by_text(re.compile(r"epoch \d+ of \d+")).first
    found = re.search(r"epoch (\d+) of", line.inner_text())
    assert found
    return int(found[1])


def picture(place: Locator) -> np.ndarray:
    """Colours of a part of the page, shape (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(place.screenshot())).convert("RGB"))


def colourful(place: Locator) -> int:
    """Number of pixels that are clearly no grey."""
    pixels = picture(place).astype(int)
    return int((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum())


def test_filters_show_at_once_how_many_cells_are_left(chosen: Page) -> None:
    panel = side_panel(chosen, "Query")
    panel.get_by_text(f"Keep the {N_WITHOUT_LABEL} cells without a label").click()
    expect(cells_used(chosen, "Query")).to_have_text(re.compile(rf"^{N_QUERY} of"))
    panel.get_by_text(f"Keep the {N_WITHOUT_LABEL} cells without a label").click()
    expect(cells_used(chosen, "Query")).to_have_text(re.compile(rf"^{N_QUERY + N_WITHOUT_LABEL} of"))


def test_preprocess_shows_what_it_did(prepared: Page) -> None:
    expect(
        prepared.get_by_test_id("stVegaLiteChart").or_(prepared.get_by_test_id("stPlotlyChart")).first
    ).to_be_visible()
    assert "300" in prose(prepared)


def test_a_run_survives_its_viewers_and_the_app_until_it_is_cancelled(
    prepared: Page, browser: Browser, server: Server
) -> None:
    page = prepared
    press(page, "Continue to Train")
    settings(page, scvi_epochs=LONG, scanvi_epochs=2, cells_per_step=16)
    press(page, "Start training")
    progress = re.compile(rf"epoch \d+ of {LONG}")
    expect(page.get_by_text(progress)).to_be_visible()
    run = run_of(page, server)
    address = page.url
    worker = run.status().epoch

    page.reload()
    expect(page.get_by_text(progress)).to_be_visible()
    assert epoch_shown(page) >= worker

    other = open_page(browser, page.url)
    expect(other.get_by_text(progress)).to_be_visible()
    assert run_of(other, server).id == run.id

    server.stop(kill=True)
    before = run.status().epoch
    server.start()
    other.goto(f"{server.url}/train?run={run.id}")
    expect(other.get_by_text(progress)).to_be_visible()
    wait_for(lambda: epoch_shown(other) > before)

    other.context.close()
    page.goto("about:blank")
    before = run.status().epoch
    wait_for(lambda: run.status().epoch > before)

    page.goto(address)
    settle(page)
    press(page, "Cancel")
    press(page.get_by_role("dialog"), "Cancel the run")
    expect(page.get_by_text("Cancelled. Finished stages are kept")).to_be_visible()
    assert run.status().state == "cancelled"
    settle(page)


def test_training_ends_with_its_result_in_sight(finished: Page, server: Server) -> None:
    said = prose(finished)
    assert "Accuracy" in said and "Macro-F1" in said
    assert re.search(r"Over \d+ scored cells of 315 in the query", said)
    assert "reused" in said, "the counts were prepared before"
    assert run_of(finished, server).status().state == "done"


def test_the_map_is_drawn_and_takes_the_colour_of_a_gene(finished: Page) -> None:
    press(finished, "Explore the result")
    expect(heading(finished, "Explore")).to_be_visible()
    chart = finished.get_by_test_id("stPlotlyChart")
    expect(chart.locator("canvas").first).to_be_visible()
    wait_for(lambda: colourful(chart) > 500)
    choose(finished, "Colour", "Gene expression")
    choose(finished, "^Gene", "Cd79a")
    expect(chart.locator("text").filter(has_text="Cd79a").first).to_be_visible()
    assert chart.locator("canvas").count()


def test_a_click_on_the_confusion_matrix_shows_the_cells_behind_it(finished: Page) -> None:
    step(finished, "Compare")
    observed, predicted, n_cells = click_a_tile(finished)
    title = finished.get_by_role("heading", name=re.compile(rf"^{n_cells} query cells observed as"))
    expect(title).to_contain_text(f"observed as {observed}, predicted as {predicted}")
    expect(button(finished, f"Download {n_cells} cells as CSV")).to_be_visible()
    expect(finished.get_by_test_id("stPlotlyChart").locator("canvas").first).to_be_visible()


def test_the_csv_holds_a_row_for_each_query_cell(finished: Page, server: Server, tmp_path: Path) -> None:
    step(finished, "Export")
    with finished.expect_download() as coming:
        button(finished, "Download 315 predictions as CSV").click()
    coming.value.save_as(tmp_path / "predictions.csv")
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table.columns[:4]) == ["cell_id", "predicted_label", "confidence", "observed_label"]
    assert len(table) == N_QUERY + N_WITHOUT_LABEL and table["cell_id"].is_unique
    assert table["cell_id"].str.startswith("droplet_").all()
    assert table["confidence"].between(0, 1).all()
    assert table["observed_label"].isna().sum() == N_WITHOUT_LABEL
    reference = Store(server.home).run(run_of(finished, server).id).artefacts.cells
    known = pd.read_parquet(reference).query("side == 'reference'")["observed_label"]
    assert set(table["predicted_label"]) <= set(known.astype(str))
    assert LABELS_KEY


def test_no_page_scrolls_sideways(finished: Page, browser: Browser, server: Server) -> None:
    run = run_of(finished, server).id
    page = open_page(browser, f"{server.url}/?run={run}", width=WIDTHS[-1])
    for name in PAGES:
        step(page, name.title())
        for width in WIDTHS:  # the last one is that in which the page was drawn, and the next one will be
            page.set_viewport_size({"width": width, "height": 900})
            with suppress(AssertionError):  # charts are drawn anew
                wait_for(lambda: too_wide(page) <= 0, seconds=10)
            assert too_wide(page) <= 0, f"{name} at {width}"
        assert page.get_by_test_id("stException").count() == 0
    page.context.close()


def test_the_app_itself_never_loads_torch(finished: Page, server: Server) -> None:
    assert finished and server.process
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not say what a process has loaded")
    loaded = maps.read_text()
    assert "libpython" in loaded or "python" in loaded
    assert "libtorch" not in loaded
