"""The command ``app``: serve the app, which is next to the package in a checkout and inside it once installed."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from labeltransfer.errors import LabelTransferError

PACKAGE = Path(__file__).parents[1]

MAX_PORT = 65_535


def add_command(commands: Any) -> None:
    """Add it to the parser."""
    app = commands.add_parser("app", help="serve the app to a browser, until Ctrl-C")
    app.set_defaults(command=_app)
    app.add_argument("--port", type=_port, metavar="N", help="port to listen on (default: Streamlit's, 8501)")
    app.add_argument("--address", metavar="A", help="address to listen on (default: this machine alone)")


def app_script() -> Path:
    """The script that Streamlit runs; pages and Streamlit's settings are in its folder.

    Raises
    ------
    LabelTransferError
        This installation comes without the app.
    """
    for folder in (PACKAGE.parent, PACKAGE / "_app"):
        if (folder / "app.py").is_file() and (folder / "pages" / "shared").is_dir():
            return folder / "app.py"
    raise LabelTransferError(
        f"There is no app next to {PACKAGE} or in it: install labeltransfer again, or run it from a checkout."
    )


def app_command(script: Path, *, port: int | None, address: str | None) -> list[str]:
    """The command that serves the app. What is not given is as ``.streamlit/config.toml`` next to the script says."""
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += [] if port is None else ["--server.port", str(port)]
    return command + ([] if address is None else ["--server.address", address])


def _app(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("streamlit") is None:
        raise LabelTransferError("Streamlit is not installed: install labeltransfer again, with what it depends on.")
    command = app_command(app_script(), port=options.port, address=options.address)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606  signals and the exit status are then Streamlit's own


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_PORT}")
    return int(text)
