"""Memory of the app while a large file is uploaded: ``python -m benchmarks.speed.uploads``.

The same file in Chromium, sent to a page of Streamlit's own uploader and nothing else, and to the app, which writes it
to the disk. Takes a minute.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.tables import keep, table
from tests.support.browser import Server, chromium, open_page, settle

MB = 1 << 20
TITLE = "Uploads: memory of the app"
PLAIN = """
import streamlit as st
st.title("Plain")
st.button("Upload")
file = st.file_uploader("File")
if file:
    st.write(f"{file.name}: {file.size}")
"""


class Peak:
    """The most memory that a process holds while the block runs, looked at every 20 ms."""

    def __init__(self, process: psutil.Process) -> None:
        self.process, self.n_bytes = process, process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.n_bytes = max(self.n_bytes, self.process.memory_info().rss)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def measured(server: Server, file: Path) -> tuple[str, ...]:
    """Send a file to a fresh server and wait until it says something of it; memory before, at most and after."""
    server.start()
    try:
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        with chromium() as browser:
            page = open_page(browser, server.url)
            page.get_by_text("Upload", exact=True).first.click()
            settle(page)
            before = process.memory_info().rss
            with Peak(process) as peak:
                began = time.monotonic()
                page.locator("input[type=file]").first.set_input_files(file)
                page.get_by_text(f"{file.name}: ", exact=False).last.wait_for(timeout=90_000)
                seconds = time.monotonic() - began
            after = process.memory_info().rss
    finally:
        server.stop()
    return *(f"{n_bytes / 1e6:,.0f} MB" for n_bytes in (before, peak.n_bytes, after)), f"{seconds:.1f} s"


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "plain.py"
        plain.write_text(PLAIN)
        file = folder / "large.h5ad"
        with file.open("wb") as content:  # HDF5 by its first bytes alone: refused once it is there
            content.write(b"\x89HDF\r\n\x1a\n")
            content.truncate(options.megabytes * MB)
        room = {"STREAMLIT_SERVER_MAX_UPLOAD_SIZE": str(2 * options.megabytes)}
        rows = [
            ("Streamlit's own uploader", *measured(Server(folder / "plain", env=room, script=str(plain)), file)),
            ("the app", *measured(Server(folder / "home", env=room), file)),
        ]
    header = ("server", "memory before", "at most", "after", "until it is looked at")
    text = f"""An upload of {options.megabytes} MiB in Chromium, and the resident memory of the server's process. The
app looks at the file in another process before it answers.

{table(header, rows)}
"""
    keep(TITLE, "python -m benchmarks.speed.uploads", text)


if __name__ == "__main__":
    main()
