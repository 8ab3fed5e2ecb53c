"""The commands that label cells: ``run`` trains on both files, ``map`` maps a query onto a published reference."""

import argparse
from pathlib import Path
from typing import Any

from labeltransfer.cli import options as table
from labeltransfer.cli.asked import check, mapping_params_from_options, params_from_options
from labeltransfer.presets import DEFAULT_PRESET, PRESET_HELP, PRESETS
from labeltransfer.storage.home import users_umask


def add_run(commands: Any) -> None:
    """Add ``run`` to the parser."""
    run = commands.add_parser("run", help="train and predict: two h5ad files in, labels out")
    run.set_defaults(command=_run, default_preset=DEFAULT_PRESET)
    _add_out(run)
    presets = "; ".join(f"{name}: {text.removesuffix('.')}" for name, text in PRESET_HELP.items())
    run.add_argument("--preset", choices=list(PRESETS), help=f"{presets} (default: {DEFAULT_PRESET})")
    table.add_options(run, table.RUN, preset=DEFAULT_PRESET)
    run.add_argument("--params", type=Path, metavar="FILE.json", help="any setting; the other options win over it")


def add_map(commands: Any) -> None:
    """Add ``map`` to the parser."""
    mapped = commands.add_parser("map", help="map a query onto a published reference: labels without training it again")
    mapped.set_defaults(command=_map)
    mapped.add_argument("--model", required=True, metavar="NAME", help="name of the published reference")
    _add_out(mapped)
    table.add_options(mapped, table.MAP, preset=DEFAULT_PRESET)
    about = "any setting of the query; the other options win over it"
    mapped.add_argument("--params", type=Path, metavar="FILE.json", help=about)


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")


def _run(options: argparse.Namespace) -> None:
    params = params_from_options(options)
    check(params, options.out)

    from labeltransfer.runs.output.deliver import deliver
    from labeltransfer.runs.start.terminal import carry_out

    run = carry_out(params)
    with users_umask():
        for line in deliver(run, options.out):
            print(line)


def _map(options: argparse.Namespace) -> None:
    from labeltransfer.runs.library.library import Library
    from labeltransfer.runs.output.deliver import deliver
    from labeltransfer.runs.records.store import default_store
    from labeltransfer.runs.start.terminal import carry_out

    params = mapping_params_from_options(options, Library(default_store().root).card(options.model))
    check(params, options.out)
    run = carry_out(params)
    with users_umask():
        for line in deliver(run, options.out):
            print(line)
