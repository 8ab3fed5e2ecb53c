"""The commands that write out a finished run once more: ``annotate`` as one h5ad, ``supplement`` as one zip."""

import argparse
from pathlib import Path
from typing import Any

from labeltransfer.storage.home import users_umask


def add_commands(commands: Any) -> None:
    """Add them to the parser."""
    annotate = commands.add_parser("annotate", help="write a finished run as one annotated h5ad")
    annotate.set_defaults(command=_annotate)
    annotate.add_argument("run_id", metavar="RUN_ID")
    annotate.add_argument("--out", required=True, type=Path, metavar="FILE.h5ad")

    supplement = commands.add_parser("supplement", help="write a finished run as one zip, report and script included")
    supplement.set_defaults(command=_supplement)
    supplement.add_argument("run_id", metavar="RUN_ID")
    supplement.add_argument("--out", required=True, type=Path, metavar="FILE.zip")


def _annotate(options: argparse.Namespace) -> None:
    from labeltransfer.runs.output.deliver import annotated
    from labeltransfer.runs.records.store import find_run

    with users_umask():
        annotated(find_run(options.run_id), options.out)
    print(options.out)


def _supplement(options: argparse.Namespace) -> None:
    from labeltransfer.runs.output.supplement import write_supplement
    from labeltransfer.runs.records.store import find_run

    with users_umask():
        write_supplement(find_run(options.run_id), options.out)
    print(options.out)
