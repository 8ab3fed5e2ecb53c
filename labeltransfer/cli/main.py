"""The command line: the same core, stages and artefacts as the app, without it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from labeltransfer.cli import clean
from labeltransfer.cli.library import add_library_commands
from labeltransfer.cli.options import check, params_from_options
from labeltransfer.errors import LabelTransferError, RunCancelled
from labeltransfer.presets import DEFAULT_PRESET, PRESET_HELP, PRESETS

USER_ERROR = 2
CANCELLED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 for a user's error (one sentence on stderr), 130 if cancelled."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except RunCancelled as error:
        print(error, file=sys.stderr)
        return CANCELLED
    except LabelTransferError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return CANCELLED
    except BrokenPipeError:  # whoever read the output has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = error.filename or "The disk"
        print(f"{where} cannot be written or read ({error.strerror}): choose another place.", file=sys.stderr)
        return USER_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labeltransfer", description="Carry cell-type labels to new cells.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train and predict: two h5ad files in, labels out")
    run.set_defaults(command=_run, default_preset=DEFAULT_PRESET)
    run.add_argument("--reference", required=True, metavar="R.h5ad", help="annotated cells")
    run.add_argument("--query", required=True, metavar="Q.h5ad", help="cells to label")
    run.add_argument("--labels-key", required=True, metavar="KEY", help="obs column with the reference's labels")
    run.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    run.add_argument("--query-labels-key", metavar="KEY", help="obs column to score against (default: --labels-key)")
    run.add_argument("--batch-key", metavar="KEY", help="obs column with batches beyond the technology (mouse, donor)")
    for side in ("reference", "query"):
        run.add_argument(
            f"--filter-{side}",
            nargs="+",
            action="extend",
            default=[],
            metavar="COL=VALUE",
            help=f"keep {side} cells with this value; repeat a column for a choice of values",
        )
    run.add_argument("--gene-lengths", metavar="FILE", help="gene and length on each line (default: the tutorial's)")
    run.add_argument("--length-normalize", choices=["none", "reference", "query"], help="which side is full-length")
    run.add_argument("--n-top-genes", type=int, metavar="N", help="highly variable genes (default: 2000)")
    run.add_argument("--max-query-cells", type=int, metavar="N", help="train on a sample of a larger query (100000)")
    presets = "; ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    run.add_argument("--preset", choices=list(PRESETS), help=f"{presets} (default: {DEFAULT_PRESET})")
    run.add_argument("--scvi-epochs", type=int, metavar="N", help="passes over the cells for scVI")
    run.add_argument("--scanvi-epochs", type=int, metavar="N", help="passes over the cells for scANVI (default: 20)")
    run.add_argument("--seed", type=int, metavar="N", help="same seed, same machine: same predictions (default: 0)")
    rejects = "labels with a calibrated confidence below P are handed over as Unknown"
    run.add_argument("--reject-below", type=float, metavar="P", help=rejects)
    hides = "a label of the reference that is not taught, to see what becomes of its cells"
    run.add_argument("--hide-label", dest="hidden_label", metavar="LABEL", help=hides)
    run.add_argument("--params", type=Path, metavar="FILE.json", help="any setting; the options above win over it")

    add_library_commands(commands)

    inspect = commands.add_parser("inspect", help="print the input report of an h5ad file")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("file", type=Path, metavar="FILE.h5ad")
    inspect.add_argument("--labels-key", metavar="KEY", help="obs column with labels (default: guessed)")

    simulate = commands.add_parser("simulate", help="write the demo pair")
    simulate.set_defaults(command=_simulate)
    simulate.add_argument("folder", type=Path, metavar="DIR")
    simulate.add_argument("--seed", type=_seed, default=0, metavar="N", help="same seed, same data (default: 0)")

    annotate = commands.add_parser("annotate", help="write a finished run as one annotated h5ad")
    annotate.set_defaults(command=_annotate)
    annotate.add_argument("run_id", metavar="RUN_ID")
    annotate.add_argument("--out", required=True, type=Path, metavar="FILE.h5ad")

    supplement = commands.add_parser("supplement", help="write a finished run as one zip, report and script included")
    supplement.set_defaults(command=_supplement)
    supplement.add_argument("run_id", metavar="RUN_ID")
    supplement.add_argument("--out", required=True, type=Path, metavar="FILE.zip")

    cleaner = commands.add_parser("clean", help="remove old runs and what no run needs any more")
    cleaner.set_defaults(command=clean.clean)
    clean.add_options(cleaner)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    params = params_from_options(options)
    check(params, options.out)

    from labeltransfer.runs.output.deliver import deliver
    from labeltransfer.runs.start.terminal import carry_out

    run = carry_out(params)
    for line in deliver(run, options.out):
        print(line)


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

    for path in simulate(options.folder, seed=options.seed):
        print(path)


def _annotate(options: argparse.Namespace) -> None:
    from labeltransfer.runs.output.deliver import annotated
    from labeltransfer.runs.records.store import find_run

    annotated(find_run(options.run_id), options.out)
    print(options.out)


def _supplement(options: argparse.Namespace) -> None:
    from labeltransfer.runs.output.supplement import write_supplement
    from labeltransfer.runs.records.store import find_run

    write_supplement(find_run(options.run_id), options.out)
    print(options.out)
