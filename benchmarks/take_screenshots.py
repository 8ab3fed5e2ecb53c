"""Take the pictures of the README and the manual from the app itself: ``python -m benchmarks.take_screenshots``.

With ``--all FOLDER`` also every page, empty, running and finished, light and dark, for looking at them. Goes through
the demo as a visitor does, which takes as long as training on it.
"""

import argparse
import re
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import (
    PAGES,
    ROOT,
    button,
    choose,
    chromium,
    click_a_tile,
    heading,
    open_page,
    press,
    serving,
    settle,
    step,
)

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT, TALL = 1366, 860, 2000
MOST_BYTES = 250_000
TRAINING_MINUTES = 20


class Album:
    """Where the pictures go: the manual's six, and all others if asked for."""

    def __init__(self, browser: Browser, everything: Path | None) -> None:
        self.browser = browser
        self.everything = everything

    def manual(self, page: Page, name: str) -> None:
        """Take the manual's picture of a page as it is."""
        save(look(page), PICTURES / f"{name}.png")

    def all_pages(self, page: Page, state: str, names: tuple[str, ...] = PAGES) -> None:
        """Take pages with what is open on ``page``, light and dark, whole."""
        if self.everything is None:
            return
        for dark in (False, True):
            viewer = open_page(self.browser, page.url, width=WIDTH, dark=dark)
            viewer.set_viewport_size({"width": WIDTH, "height": TALL})
            for name in names:
                step(viewer, name.title())
                drawn(viewer)
                save(look(viewer), self.everything / f"{name}-{state}-{'dark' if dark else 'light'}.png")
            viewer.context.close()

    def here(self, page: Page, name: str) -> None:
        """Take the page itself, light and dark, whole."""
        if self.everything is None:
            return
        page.set_viewport_size({"width": WIDTH, "height": TALL})
        for dark in (True, False):
            page.emulate_media(color_scheme="dark" if dark else "light")
            settle(page)
            drawn(page)
            save(look(page), self.everything / f"{name}-{'dark' if dark else 'light'}.png")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def look(page: Page) -> Image.Image:
    """What is in the window, the mouse over nothing."""
    page.mouse.move(5, 5)
    return Image.open(BytesIO(page.screenshot()))


def drawn(page: Page) -> None:
    """Wait for the charts, which are drawn after the page has settled."""
    for chart in page.locator("[data-testid=stPlotlyChart], [data-testid=stVegaLiteChart]").all():
        if chart.evaluate("chart => chart.parentElement.checkVisibility()"):  # not in a tab or section that is closed
            expect(chart.locator("svg.main-svg, .marks, canvas").first).to_be_visible()
    page.wait_for_timeout(1200)  # a map is painted by the graphics card, which does not report when it is done


def save(picture: Image.Image, target: Path) -> None:
    """Write a PNG; in 256 colours where it is large otherwise, which a map can do with."""
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = picture.convert("RGB")
    picture.save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    print(f"{target}: {size:,} bytes", flush=True)
    if target.parent == PICTURES and size > MOST_BYTES:
        raise SystemExit(f"{target} is larger than {MOST_BYTES:,} bytes: show less.")


def prepare(page: Page, album: Album) -> None:
    """Data and Preprocess, with the demo pair."""
    press(page, "Start with the demo data")
    expect(page.get_by_text("Cells used")).to_have_count(2)
    settle(page)
    drawn(page)
    album.manual(page, "data")
    album.all_pages(page, "chosen", ("data", "preprocess", "train"))
    press(page, "Continue to Preprocess")
    expect(heading(page, "Preprocess")).to_be_visible()
    press(page, "Prepare")
    expect(page.get_by_text("Leaving is safe")).to_be_visible()
    album.here(page, "preprocess-running")
    expect(button(page, "Continue to Train")).to_be_visible()
    drawn(page)
    album.manual(page, "preprocess")


def train(page: Page, album: Album) -> None:
    """Train, seen while it is running and when it is done."""
    press(page, "Continue to Train")
    album.here(page, "train-prepared")
    page.get_by_label("Name", exact=True).fill("Female marrow, quick look")
    page.get_by_label("Name", exact=True).press("Enter")
    press(page, "Start training")
    album.here(page, "train-starting")
    expect(page.get_by_text(re.compile(r"Train scVI: epoch (1\d|2\d) of"))).to_be_visible()
    drawn(page)
    album.manual(page, "train")
    album.all_pages(page, "running")
    expect(button(page, "Explore the result")).to_be_visible(timeout=TRAINING_MINUTES * 60_000)


def results(page: Page, album: Album) -> None:
    """What a finished run shows."""
    press(page, "Explore the result")
    expect(heading(page, "Explore")).to_be_visible()
    page.get_by_text("Names on the map").click()
    settle(page)
    drawn(page)
    album.manual(page, "explore")
    album.all_pages(page, "finished")
    choose(page, "Colour", "Gene expression")
    choose(page, "^Gene", "Cd79a")
    album.here(page, "explore-gene")
    step(page, "Compare")
    page.set_viewport_size({"width": WIDTH, "height": TALL})
    click_a_tile(page, at_least=20, differing=True)
    drawn(page)
    album.manual(page, "compare")
    album.here(page, "compare-clicked")
    step(page, "Export")
    drawn(page)
    album.manual(page, "export")


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="also every page in every state, light and dark")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch) / "home") as app, chromium() as browser:
        album = Album(browser, asked.all)
        page = open_page(browser, app.url, width=WIDTH)
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        album.all_pages(page, "empty")
        prepare(page, album)
        train(page, album)
        results(page, album)


if __name__ == "__main__":
    main()
