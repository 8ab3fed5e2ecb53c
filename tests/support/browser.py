"""The app as a process of its own and a real Chromium in front of it: what the browser tests and the pictures use."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect, sync_playwright

from tests.support import ROOT
from tests.support.waiting import wait_for

PAGES = ("data", "preprocess", "train", "explore", "compare", "export", "runs")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # A map needs WebGL, and there may be no graphics card.
    "--enable-unsafe-swiftshader",
]
APP = '[data-testid="stApp"]'
PATIENCE = 90_000
"""Milliseconds to wait for what a busy machine may be slow with."""

expect.set_options(timeout=PATIENCE)


def chromium_path() -> str | None:
    """Chromium of this machine; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Server:
    """The app, served from a port of its own with a home of its own."""

    home: Path
    data: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    script: str = "app.py"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}-server.log"

    def start(self) -> "Server":
        """Start it and wait until it answers."""
        self.port = self.port or free_port()
        places = {"LABELTRANSFER_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        if self.data is not None:
            places["LABELTRANSFER_DATA_DIR"] = str(self.data)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABELTRANSFER_", "STREAMLIT_"))}
        command = [sys.executable, "-m", "streamlit", "run", self.script, "--server.port", str(self.port)]
        with self.log.open("ab") as log:
            process = self.process = subprocess.Popen(
                command, cwd=ROOT, env=kept | places | self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for(lambda: self.answers() or process.poll() is not None, seconds=PATIENCE / 1000, pause=0.1)
        if process.poll() is not None:
            raise RuntimeError(f"The app did not start:\n{self.log.read_text()}")
        return self

    def answers(self) -> bool:
        """Whether the app says that it is well."""
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5) as answer:
            return answer.status == 200
        return False

    def stop(self, *, kill: bool = False) -> None:
        """End the app's process, and no other: workers go on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that no one listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(home: Path, data: Path | None = None, **env: str) -> Iterator[Server]:
    """The app for as long as the block lasts."""
    server = Server(home, data, env).start()
    try:
        yield server
    finally:
        server.stop()


def open_page(browser: Browser, address: str, *, width: int = 1366, dark: bool = False, **context: Any) -> Page:
    """A visitor with their own browser profile, on a page."""
    profile = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
        **context,
    )
    profile.set_default_timeout(PATIENCE)
    page = profile.new_page()
    page.goto(address)
    settle(page)
    return page


def visit(page: Page, address: str) -> None:
    """Type an address into the tab: a new session of the app, in a browser that has its scripts already."""
    page.goto(address)
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page's script has run through and nothing on it is out of date.

    The run that an action sets off begins a moment after it, so that moment is granted first.
    """
    with suppress(TimeoutError):
        page.wait_for_function(
            f"() => document.querySelector('{APP}')?.dataset.testScriptState !== 'notRunning'", timeout=400
        )
    page.wait_for_function(
        """() => {
            const app = document.querySelector('[data-testid="stApp"]');
            return app && app.getAttribute('data-test-script-state') === 'notRunning'
                && document.querySelector('[data-testid="stHeading"], [data-testid="stAlert"]')
                && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]');
        }"""
    )


def button(page: Page | Locator, label: str) -> Locator:
    """A button by its text, without its icon."""
    words = (page if isinstance(page, Page) else page.page).get_by_text(label, exact=True)
    return page.locator("button:visible").filter(has=words)


def press(page: Page | Locator, label: str) -> None:
    """Click a button, once it can be clicked, and wait for what follows."""
    button(page, label).first.click()
    settle(page if isinstance(page, Page) else page.page)


def fill(page: Page, label: str, number: float, *, which: int = 0) -> None:
    """Type into a number field."""
    field = page.get_by_label(label, exact=True).nth(which)
    field.fill(str(number))
    field.press("Enter")
    settle(page)


def step(page: Page, title: str) -> None:
    """Go to a page through the navigation on top."""
    page.get_by_test_id("stTopNavLink").filter(has=page.get_by_text(title, exact=True)).click()
    expect(heading(page, title)).to_be_visible(timeout=PATIENCE)
    settle(page)


def heading(page: Page, title: str) -> Locator:
    """The title of a page."""
    return page.locator("h1").filter(has_text=re.compile(rf"^{title}"))


def choose(page: Page | Locator, label: str, option: str) -> None:
    """Choose in a select box or add to a multiselect, by typing as a person does."""
    page.get_by_role("combobox", name=re.compile(label)).first.click()
    root = page if isinstance(page, Page) else page.page
    root.keyboard.type(option)
    root.get_by_role("option").filter(has_text=option).first.click()
    settle(root)
    if root.get_by_role("listbox").is_visible():  # a multiselect stays open for more
        root.keyboard.press("Tab")
        expect(root.get_by_role("listbox")).to_be_hidden()


def click_a_tile(page: Page, *, at_least: int = 2, differing: bool = False) -> tuple[str, str, int]:
    """Move the mouse over the confusion matrix until it is on a tile with cells, and click; off the diagonal
    if only differing labels will do.


    Returns observed label, predicted label and number of cells, as the tip under the mouse says them.
    """
    matrix = page.get_by_test_id("stVegaLiteChart").first
    matrix.scroll_into_view_if_needed()
    matrix.locator("canvas, svg").first.wait_for()
    box = matrix.bounding_box()
    assert box
    tip = page.locator("#vg-tooltip-element")
    for down in range(5, 70, 5):
        for across in range(35, 90, 4):
            page.mouse.move(box["x"] + across / 100 * box["width"], box["y"] + down / 100 * box["height"])
            said = tip.inner_text() if tip.is_visible() else ""
            found = re.search(r"Observed\s*(.+?)\s*Predicted\s*(.+?)\s*Cells\s*(\d+)", said, re.DOTALL)
            if found and int(found[3]) >= at_least and not (differing and found[1] == found[2]):
                page.mouse.down()
                page.mouse.up()
                settle(page)
                return found[1], found[2], int(found[3])
    raise AssertionError("no tile with cells was found under the mouse")


def prose(page: Page) -> str:
    """All that a page says."""
    return page.locator("body").inner_text()


def too_wide(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate(
        """() => {
            const boxes = ['[data-testid="stMain"]', '[data-testid="stAppViewContainer"]', 'html']
                .map(name => document.querySelector(name)).filter(Boolean);
            return Math.max(...boxes.map(box => box.scrollWidth - box.clientWidth));
        }"""
    )
