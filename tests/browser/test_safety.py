"""The first minute, deep links, sign-in and hostile input in a real browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")

from playwright.sync_api import Browser, Page, expect

from labeltransfer.results.scores import evaluate
from labeltransfer.runs.records.store import SHIPPED, Store
from tests.support.browser import (
    Server,
    button,
    choose,
    chromium_path,
    heading,
    open_page,
    press,
    prose,
    serving,
    settle,
    step,
    visit,
)
from tests.support.builders import unseal

pytestmark = [
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed on this machine"),
]

MARKUP = "<img src=x onerror=window.trapped=1> **bold**"
STEPS = ("Data", "Preprocess", "Train", "Explore", "Compare", "Export", "References", "Runs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, with files full of markup in its data folder and a finished run of such labels."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "data").mkdir()
    for side in ("reference", "query"):
        write_markup(folder / "data" / f"{side}.h5ad", n_labels=1 if side == "reference" else 3)
    run_with_markup(folder / "home")
    with serving(folder / "home", folder / "data") as app:
        yield app


def write_markup(path: Path, *, n_labels: int) -> None:
    """A small h5ad whose labels, tissues, columns and genes hold markup."""
    rng = np.random.default_rng(0)
    labels = [MARKUP, "**B cell**", "$T$ cell :red[x]"]
    obs = pd.DataFrame(
        {
            "cell_type **bold**": pd.Categorical(np.array(labels)[np.arange(60) % n_labels]),
            "tissue": pd.Categorical(np.array([MARKUP, "<b>Spleen</b>"])[np.arange(60) % 2]),
            MARKUP: pd.Categorical(np.array(["x", "y"])[np.arange(60) % 2]),
        },
        index=[f"{MARKUP}{i}" for i in range(60)],
    )
    genes = pd.DataFrame(index=[f"{MARKUP}{i}" for i in range(50)])
    ad.AnnData(sp.csr_matrix(rng.poisson(2, (60, 50)).astype(np.float32)), obs=obs, var=genes).write_h5ad(path)


def run_with_markup(home: Path) -> None:
    """The shipped run, with markup in its name, its commonest label, its batches and its genes."""
    shutil.copytree(SHIPPED, home)
    shutil.move(home / "runs" / "demo", home / "runs" / "markup")
    run = Store(home).run("markup")
    unseal(run)
    params = json.loads((run.folder / "params.json").read_text())
    params["name"] = MARKUP
    (run.folder / "params.json").write_text(json.dumps(params))
    table = run.artefacts.cells
    cells = pd.read_parquet(table)
    common = cells["predicted_label"].astype(str).mode()[0]
    for column in ("observed_label", "predicted_label", "second_label"):
        cells[column] = cells[column].astype(object).replace({common: MARKUP}).astype("category")
    cells["batch"] = pd.Categorical([MARKUP] * len(cells))
    cells["cell_id"] = [f"{MARKUP}{i}" for i in range(len(cells))]
    cells.to_parquet(table)
    run.artefacts.metrics.write_text(json.dumps(evaluate.metrics(cells)))
    with h5py.File(run.artefacts.prepared, "r+") as file:
        names = file["var"][file["var"].attrs["_index"]]
        names[0] = f"0 {MARKUP}"


def in_frame(page: Page, title: str) -> None:
    """The page is in the frame, whole."""
    expect(heading(page, title)).to_be_visible()
    links = page.get_by_test_id("stTopNavLink")
    assert [link.locator("p").first.inner_text() for link in links.all()] == list(STEPS)
    unharmed(page)


def tip_with(page: Page, words: str) -> str:
    """Move the mouse over the confusion matrix until the tip under it says something; gives all of the tip."""
    matrix = page.get_by_test_id("stVegaLiteChart").first
    matrix.scroll_into_view_if_needed()
    box = matrix.bounding_box()
    assert box
    tip = page.locator("#vg-tooltip-element")
    for down in range(2, 98, 4):
        for across in range(10, 98, 3):
            page.mouse.move(box["x"] + across / 100 * box["width"], box["y"] + down / 100 * box["height"])
            said = tip.inner_text() if tip.is_visible() else ""
            if words in said:
                return said
    raise AssertionError(f"no tip says {words}")


def unharmed(page: Page) -> None:
    """No traceback, and nothing that came with the data was carried out."""
    settle(page)
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in prose(page)
    assert page.evaluate("window.trapped") is None
    assert page.locator("img[src='x']").count() == 0


def test_a_finished_run_is_one_click_away_at_the_first_start(tmp_path: Path, browser: Browser) -> None:
    with serving(tmp_path / "home") as fresh:
        page = open_page(browser, fresh.url)
        press(page, "Look at the finished demo run")
        expect(page.get_by_test_id("stPlotlyChart").locator("canvas").first).to_be_visible()
        in_frame(page, "Explore")
        page.context.close()


@pytest.mark.parametrize("titles", [("Train", "Data"), ("Compare", "Explore", "Runs"), ("Export", "Preprocess")])
def test_a_deep_link_to_a_fresh_server_lands_in_the_frame(
    titles: tuple[str, ...], tmp_path: Path, browser: Browser
) -> None:
    with serving(tmp_path / "home") as fresh:
        page = open_page(browser, f"{fresh.url}/{titles[0].lower()}?run=demo")
        for title in titles:
            if title != titles[0]:
                visit(page, f"{fresh.url}/{title.lower()}?run=demo")
            in_frame(page, title)
            assert "run=demo" in page.url and "page=" not in page.url
        page.context.close()


def test_an_address_copied_on_the_way_from_a_deep_link_leads_to_its_page(browser: Browser, server: Server) -> None:
    page = open_page(browser, f"{server.url}/?run=demo&page=train")
    in_frame(page, "Train")
    assert "page=" not in page.url
    page.context.close()


def test_without_its_secrets_a_server_that_asks_for_sign_in_shows_nothing(tmp_path: Path, browser: Browser) -> None:
    run_with_markup(tmp_path / "home")
    with serving(tmp_path / "home", LABELTRANSFER_SIGN_IN="required") as closed:
        page = open_page(browser, closed.url)
        for title in STEPS:
            visit(page, f"{closed.url}/{title.lower()}?run=markup")
            expect(page.get_by_test_id("stAlert")).to_contain_text("This server asks for sign-in")
            assert page.get_by_test_id("stAlert").count() == 1
            assert not page.locator("h1, table, canvas, [data-testid='stDataFrame'], [data-testid='stMetric']").count()
            assert "onerror" not in prose(page) and "Smart-seq2" not in prose(page)
        page.context.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [("words.h5ad", b"these are no cells\n" * 50), ("cut.h5ad", b"\x89HDF\r\n\x1a\n" + bytes(400))],
)
def test_a_file_that_is_no_h5ad_is_refused_in_plain_words(
    name: str, content: bytes, browser: Browser, server: Server
) -> None:
    page = open_page(browser, server.url)
    panel = page.get_by_test_id("stColumn").filter(has=page.get_by_role("heading", name="Reference"))
    panel.get_by_text("Upload", exact=True).click()
    panel.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": content})
    alert = panel.get_by_test_id("stAlert")
    expect(alert).to_be_visible()
    unharmed(page)
    assert alert.count() == 1
    said = alert.locator("p").last.inner_text()
    assert said.startswith(f"{name}: this is no h5ad") and len(said) < 200 and "\n" not in said
    expect(button(page, "Continue to Preprocess")).to_be_disabled()
    page.context.close()


def test_markup_in_chosen_files_is_shown_as_text(browser: Browser, server: Server) -> None:
    page = open_page(browser, server.url)
    for side in ("Reference", "Query"):
        panel = page.get_by_test_id("stColumn").filter(has=page.get_by_role("heading", name=side))
        panel.get_by_text("Data folder", exact=True).click()
        choose(panel, "File", f"{side.lower()}.h5ad")
        expect(panel.get_by_text("Cells used")).to_be_visible()
        choose(panel, "Tissue", MARKUP)
        choose(panel, "More filters", MARKUP)
        for folded in panel.locator("summary").all():
            folded.click()
    unharmed(page)
    assert "**bold**" in prose(page)
    assert page.locator("strong").filter(has_text=re.compile("^(bold|B cell)$")).count() == 0
    page.context.close()


def test_markup_in_a_finished_run_is_shown_as_text(browser: Browser, server: Server) -> None:
    page = open_page(browser, f"{server.url}/?run=markup")
    for title in STEPS:
        step(page, title)
        unharmed(page)
        assert page.locator("strong").filter(has_text=re.compile("^bold$")).count() == 0, title
        if title != "Runs":  # a table that is drawn, not written
            assert f"run {MARKUP}" in prose(page), title
        if title == "Explore":
            chart = page.get_by_test_id("stPlotlyChart")
            written = chart.locator("text").filter(has_text="**bold**")
            expect(written.first).to_be_visible()
            page.get_by_text("Names on the map").click()
            unharmed(page)
            chart.hover(position={"x": 250, "y": 250})
            choose(page, "Colour", "Batch")
            unharmed(page)
            choose(page, "Colour", "Gene expression")
            choose(page, "^Gene", f"0 {MARKUP}")
            expect(chart.locator("text").filter(has_text="0 <img src=x").first).to_be_visible()
            unharmed(page)
        if title == "Compare":  # the tip under the mouse, and all that opens behind a tile
            assert MARKUP in tip_with(page, "onerror")
            page.mouse.down()
            page.mouse.up()
            expect(page.get_by_text("Median confidence")).to_be_visible()
            unharmed(page)
    page.context.close()
