"""The command line: the same core, stages and artefacts as the app, without it."""

import argparse
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labeltransfer.errors import LabelTransferError, RunCancelled, RunError, SettingsError
from labeltransfer.params import PRESET_HELP, PRESETS, RunParams, read_settings, run_params

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
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labeltransfer", description="Carry cell-type labels to new cells.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train and predict: two h5ad files in, labels out")
    run.set_defaults(command=_run)
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
    presets = "; ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    run.add_argument("--preset", choices=list(PRESETS), help=presets + " (default: tutorial)")
    run.add_argument("--scvi-epochs", type=int, metavar="N", help="passes over the cells for scVI")
    run.add_argument("--scanvi-epochs", type=int, metavar="N", help="passes over the cells for scANVI (default: 20)")
    run.add_argument("--seed", type=int, metavar="N", help="same seed, same machine: same predictions (default: 0)")
    run.add_argument("--params", type=Path, metavar="FILE.json", help="any setting; the options above win over it")

    inspect = commands.add_parser("inspect", help="print the input report of an h5ad file")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("file", type=Path, metavar="FILE.h5ad")
    inspect.add_argument("--labels-key", metavar="KEY", help="obs column with labels (default: guessed)")

    simulate = commands.add_parser("simulate", help="write the demo pair")
    simulate.set_defaults(command=_simulate)
    simulate.add_argument("folder", type=Path, metavar="DIR")
    simulate.add_argument("--seed", type=int, default=0)

    annotate = commands.add_parser("annotate", help="write a finished run as one annotated h5ad")
    annotate.set_defaults(command=_annotate)
    annotate.add_argument("run_id", metavar="RUN_ID")
    annotate.add_argument("--out", required=True, type=Path, metavar="FILE.h5ad")
    return parser


def settings_from_options(options: argparse.Namespace) -> RunParams:
    """Settings of a run: those of ``--params``, then the preset's, then every option that was given.

    Raises
    ------
    SettingsError
        A filter is not of the form column=value, or a setting is out of its bounds.
    """
    asked: dict[str, Any] = read_settings(options.params) if options.params else {}

    def put(section: str, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        asked[section] = asked.get(section, {}) | given

    if options.preset:
        for section, settings in PRESETS[options.preset].items():
            put(section, **settings.model_dump())
    query_key = options.query_labels_key or _if_present(options.query, options.labels_key)
    keys = {"reference": options.labels_key, "query": query_key}
    for side, path, filters in (
        ("reference", options.reference, options.filter_reference),
        ("query", options.query, options.filter_query),
    ):
        batch_key = _if_present(path, options.batch_key) if options.batch_key else None
        put(side, path=path, labels_key=keys[side], batch_key=batch_key, filters=_filters(filters))
    if options.batch_key and not any(asked[side].get("batch_key") for side in ("reference", "query")):
        raise SettingsError(f"batch_key '{options.batch_key}' is an obs column of neither file: name one that is.")
    put(
        "prepare",
        gene_lengths=options.gene_lengths,
        length_normalize=options.length_normalize,
        n_top_genes=options.n_top_genes,
    )
    put("integrate", max_epochs=options.scvi_epochs)
    put("transfer", max_epochs=options.scanvi_epochs)
    if options.seed is not None:
        asked["seed"] = options.seed
    return run_params(asked)


def _filters(pairs: Sequence[str]) -> dict[str, list[str]] | None:
    chosen: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        column, equals, value = pair.partition("=")
        if not (column and equals):
            raise SettingsError(f"The filter '{pair}' is not of the form column=value, such as tissue=Marrow.")
        chosen[column].append(value)
    return dict(chosen) or None


def _if_present(path: str, column: str) -> str | None:
    """The column, if the file's obs has it."""
    from labeltransfer.data.files import open_h5ad, read_obs

    with open_h5ad(path) as file:
        return column if column in read_obs(file).columns else None


def _run(options: argparse.Namespace) -> None:
    from labeltransfer.runs.deliver import deliver
    from labeltransfer.runs.store import default_store
    from labeltransfer.runs.worker import work
    from labeltransfer.terminal import progress_bar

    params = settings_from_options(options)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{options.out} cannot be written ({error.strerror}): name another folder for --out.") from error
    run = default_store().create(params)

    def stop(*_: object) -> None:
        # Not KeyboardInterrupt: Lightning would take it for itself and end the process its own way.
        run.request_cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        with progress_bar(run) as listener:
            status = work(run, listener=listener)
    finally:
        signal.signal(signal.SIGINT, before)
    if status.state == "cancelled":
        raise RunCancelled(f"Run {run.id} was cancelled; finished stages are kept.")
    if status.state == "failed":
        raise RunError(status.error)
    for line in deliver(run, options.out):
        print(line)


def _inspect(options: argparse.Namespace) -> None:
    from labeltransfer.data.intake import guess, inspect, read_summary

    summary = read_summary(options.file)
    print(f"{options.file}: {summary.n_cells:,} cells × {summary.n_genes:,} genes")
    for finding in inspect(summary, labels_key=options.labels_key or guess(summary).labels_key):
        print(f"{finding.severity:>8}  {finding.title}. {finding.detail}".rstrip())
        if finding.way_out:
            print(f"{'':>8}  → {finding.way_out}")


def _simulate(options: argparse.Namespace) -> None:
    from labeltransfer.data.demo import simulate

    for path in simulate(options.folder, seed=options.seed):
        print(path)


def _annotate(options: argparse.Namespace) -> None:
    from labeltransfer.runs.deliver import annotated
    from labeltransfer.runs.store import find_run

    annotated(find_run(options.run_id), options.out)
    print(options.out)
