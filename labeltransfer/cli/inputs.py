"""The commands for inputs: ``inspect`` reports on a file, ``simulate`` writes the demo pair."""

import argparse
from pathlib import Path
from typing import Any

from labeltransfer.cli.options import SEED, add_options
from labeltransfer.presets import DEFAULT_PRESET
from labeltransfer.storage.home import users_umask


def add_commands(commands: Any) -> None:
    """Add them to the parser."""
    inspect = commands.add_parser("inspect", help="print the input report of an h5ad file")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("file", type=Path, metavar="FILE.h5ad")
    inspect.add_argument("--labels-key", metavar="KEY", help="obs column with labels (default: guessed)")

    simulate = commands.add_parser("simulate", help="write the demo pair")
    simulate.set_defaults(command=_simulate)
    simulate.add_argument("folder", type=Path, metavar="DIR")
    add_options(simulate, [SEED], preset=DEFAULT_PRESET)


def _inspect(options: argparse.Namespace) -> None:
    from labeltransfer.data.intake import inspect, read_summary
    from labeltransfer.data.intake.finding import NOTHING_TO_DO
    from labeltransfer.runs.start.terminal import print_wrapped

    summary = read_summary(options.file)
    for finding in inspect(summary, labels_key=options.labels_key):
        print_wrapped(f"{finding.severity:>8}  ", f"{finding.title}. {finding.detail}")
        if finding.way_out != NOTHING_TO_DO:
            print_wrapped(f"{'':>8}  → ", finding.way_out)


def _simulate(options: argparse.Namespace) -> None:
    from labeltransfer.data.demo.simulate import simulate

    seed = SEED.info.default if options.seed is None else options.seed
    with users_umask():
        written = simulate(options.folder, seed=seed)
    for path in written:
        print(path)
