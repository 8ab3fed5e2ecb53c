"""An upload in a real browser: to the disk as it arrives, and taken from there."""

import re
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Server, chromium_path, open_page, serving, settle
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed on this machine"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"),
]

MB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("uploads") / "home", STREAMLIT_SERVER_MAX_UPLOAD_SIZE="300") as app:
        yield app


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The Data page with the reference's uploader open."""
    page = open_page(browser, server.url)
    page.get_by_text("Upload", exact=True).first.click()
    settle(page)
    yield page
    page.context.close()


def send(page: Page, file: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(file)


def most_memory(server: Server) -> int:
    """Bytes of memory that the app's process has ever held at once."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def sparse(path: Path, n_bytes: int) -> Path:
    """A file that says that it is HDF5 and is not."""
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(n_bytes)
    return path


def test_a_large_upload_does_not_pass_through_memory(page: Page, server: Server, tmp_path: Path) -> None:
    before = most_memory(server)
    send(page, sparse(tmp_path / "large.h5ad", 250 * MB))
    expect(page.get_by_text("large.h5ad: ", exact=False).last).to_be_visible()  # refused, since it is none
    assert most_memory(server) - before < 100 * MB
    (kept,) = (server.home / "uploads").rglob("large.h5ad")
    assert kept.stat().st_size == 250 * MB
    assert not list((server.home / "uploads" / ".arriving").iterdir())


def test_a_sound_upload_is_counted(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "small.h5ad"
    obs = pd.DataFrame({"cell_type": pd.Categorical(["B", "T"] * 30)}, index=[f"c{i}" for i in range(60)])
    counts = np.random.default_rng(0).poisson(2, (60, 50)).astype(np.float32)
    ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(50)])).write_h5ad(file)
    send(page, file)
    expect(page.get_by_text("Cells used", exact=True).first).to_be_visible()


def test_a_file_beyond_the_limit_is_refused_in_words(page: Page, server: Server, tmp_path: Path) -> None:
    send(page, sparse(tmp_path / "huge.h5ad", 301 * MB))
    expect(page.get_by_text("or smaller", exact=False).first).to_be_visible()
    assert not list((server.home / "uploads").rglob("huge.h5ad"))


def test_what_no_page_took_goes_when_the_tab_closes(page: Page, server: Server, tmp_path: Path) -> None:
    with page.expect_request(lambda request: request.method == "PUT") as sent:
        send(page, sparse(tmp_path / "other.h5ad", MB))
    address = sent.value.url.rpartition("/")[0] + "/never-asked-for"
    status = page.evaluate(
        """async address => {
            const body = new FormData();
            body.append("file", new File(["x".repeat(1e6)], "late.h5ad"));
            const token = document.cookie.match(/_streamlit_xsrf=([^;]+)/)[1];
            return (await fetch(address, {method: "PUT", body, headers: {"X-Xsrftoken": token}})).status;
        }""",
        address,
    )
    arriving = server.home / "uploads" / ".arriving"
    assert status == 204 and 1_000_000 in [file.stat().st_size for file in arriving.iterdir()]
    page.close()
    wait_for(lambda: not list(arriving.iterdir()))
