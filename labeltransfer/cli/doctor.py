"""The command ``doctor``: check a home and the set-up, and fix what is safe to fix."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from labeltransfer.cli.app import app_script
from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.health.doctor import examine
from labeltransfer.runs.health.finding import Finding, fixed
from labeltransfer.storage.records import printable
from labeltransfer.units import counted

TO_DO = 1
"""Exit status where something is left to do."""


def add_command(commands: Any) -> None:
    """Add it to the parser."""
    parser = commands.add_parser("doctor", help="check the home and the set-up, and say what to do")
    parser.set_defaults(command=_doctor, any_settings=True)
    parser.add_argument(
        "--fix",
        action="store_true",
        help="fix what is safe to fix: permissions, old leftovers, places of past runs in the queue, compiled loops. "
        "No run is deleted",
    )
    parser.add_argument(
        "--thorough", action="store_true", help="compare the checksums of all results and references, which reads them"
    )


def _doctor(options: argparse.Namespace) -> int:
    n_to_do = n_fixable = 0
    for finding in examine(secrets_files(), thorough=options.thorough):
        line = fixed(finding) if options.fix else finding
        print_finding(line)
        n_to_do += line.state == "to do"
        n_fixable += line.state == "to do" and line.fix is not None
    if not n_to_do:
        print("All is well.")
        return 0
    more = f", {n_fixable} of them with --fix" if n_fixable else ""
    print(f"{counted(n_to_do, 'thing')} to do{more}.")
    return TO_DO


def print_finding(finding: Finding) -> None:
    """Print a line, and its way out below it."""
    from labeltransfer.runs.start.terminal import print_wrapped

    print_wrapped(f"{finding.state:<5}  ", printable(f"{finding.what}: {finding.about}"))
    if finding.way_out:
        print_wrapped(f"{'':5}  → ", printable(finding.way_out))


def secrets_files() -> list[Path]:
    """Where Streamlit looks for secrets: in the person's own folder, and next to the app."""
    return list(_secrets_files())


def _secrets_files() -> Iterator[Path]:
    with suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".streamlit" / "secrets.toml"
    with suppress(LabelTransferError):
        yield app_script().parent / ".streamlit" / "secrets.toml"
