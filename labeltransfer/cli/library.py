"""Commands of the library of references: train one, publish it, list them, map a query onto one."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.cli.options import check, mapping_params_from_options, params_from_options
from labeltransfer.presets import PRESETS

if TYPE_CHECKING:
    from labeltransfer.runs.library.reference_card import Card


def add_library_commands(commands: Any) -> None:
    """Add them to the parser of :mod:`.cli`."""
    train = commands.add_parser("train-reference", help="train a reference alone, and publish it under a name")
    train.set_defaults(command=_train, default_preset="atlas", query=None, filter_query=[], max_query_cells=None)
    train.set_defaults(reject_below=None, hidden_label=None)
    train.add_argument("--reference", required=True, metavar="R.h5ad", help="annotated cells")
    train.add_argument("--labels-key", required=True, metavar="KEY", help="obs column with the labels")
    _add_naming(train)
    train.add_argument("--batch-key", metavar="KEY", help="obs column with batches (mouse, donor)")
    _add_filters(train, "reference")
    train.add_argument("--gene-lengths", metavar="FILE", help="gene and length on each line (default: the tutorial's)")
    train.add_argument("--length-normalize", choices=["none", "reference"], help="whether the reference is full-length")
    train.add_argument("--n-top-genes", type=int, metavar="N", help="highly variable genes (default: 2000)")
    train.add_argument("--preset", choices=list(PRESETS), help="settings of the trainings (default: atlas)")
    train.add_argument("--scvi-epochs", type=int, metavar="N", help="passes over the cells for scVI")
    train.add_argument("--scanvi-epochs", type=int, metavar="N", help="passes over the cells for scANVI")
    _add_seed(train)
    train.add_argument("--params", type=Path, metavar="FILE.json", help="any setting; the options above win over it")

    publish = commands.add_parser("publish", help="publish a finished run over a reference alone")
    publish.set_defaults(command=_publish)
    publish.add_argument("run_id", metavar="RUN_ID")
    _add_naming(publish)

    references = commands.add_parser("references", help="list the published references")
    references.set_defaults(command=_list)
    references.add_argument("--delete", metavar="NAME", help="delete one; results that were mapped onto it stay")

    mapped = commands.add_parser("map", help="map a query onto a published reference: labels without training it again")
    mapped.set_defaults(command=_map)
    mapped.add_argument("--model", required=True, metavar="NAME", help="name of the published reference")
    mapped.add_argument("--query", required=True, metavar="Q.h5ad", help="cells to label")
    mapped.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    about = "obs column to score against (default: the reference's own, where the query has it)"
    mapped.add_argument("--labels-key", dest="query_labels_key", metavar="KEY", help=about)
    mapped.add_argument("--batch-key", metavar="KEY", help="obs column with the query's batches")
    _add_filters(mapped, "query")
    mapped.add_argument("--gene-lengths", metavar="FILE", help="gene and length on each line (default: the tutorial's)")
    mapped.add_argument("--length-normalize", choices=["none", "query"], help="whether the query is full-length")
    mapped.add_argument(
        "--max-query-cells", type=int, metavar="N", help="learn from a sample of a larger query (100000)"
    )
    mapped.add_argument("--epochs", type=int, metavar="N", help="passes over the query (default: 100, then fewer)")
    _add_seed(mapped)
    rejects = "labels with a calibrated confidence below P are handed over as Unknown"
    mapped.add_argument("--reject-below", type=float, metavar="P", help=rejects)
    mapped.add_argument(
        "--params", type=Path, metavar="FILE.json", help="any setting of the query; options win over it"
    )


def _add_naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, metavar="NAME", help="what it is published as")
    parser.add_argument("--description", default="", metavar="TEXT", help="a few words for those who choose")
    parser.add_argument("--replace", action="store_true", help="in place of a reference of that name")


def _add_filters(parser: argparse.ArgumentParser, side: str) -> None:
    about = f"keep {side} cells with this value; repeat a column for a choice of values"
    parser.add_argument(f"--filter-{side}", nargs="+", action="extend", default=[], metavar="COL=VALUE", help=about)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same machine: same result (default: 0)")


def _train(options: argparse.Namespace) -> None:
    params = params_from_options(options)
    check(params)

    from labeltransfer.runs.library.library import Library, check_made_for_it
    from labeltransfer.runs.records.store import default_store
    from labeltransfer.runs.start.terminal import carry_out

    check_made_for_it(params)  # said now, not after hours of training
    Library(default_store().root).free(options.name, replace=options.replace)
    run = carry_out(params)
    print(f"run {run.id}")
    _show(_published(run.id, options))


def _publish(options: argparse.Namespace) -> None:
    _show(_published(options.run_id, options))


def _published(run_id: str, options: argparse.Namespace) -> "Card":
    from labeltransfer.runs.library.library import Library
    from labeltransfer.runs.records.store import default_store

    store = default_store()
    library = Library(store.root)
    return library.publish(store.run(run_id), options.name, description=options.description, replace=options.replace)


def _list(options: argparse.Namespace) -> None:
    from labeltransfer.runs.library.library import Library
    from labeltransfer.runs.records.store import default_store

    library = Library(default_store().root)
    if options.delete:
        library.delete(options.delete)
    cards = library.cards()
    for card in cards:
        _show(card)
    if not cards:
        print("No reference is published: 'train-reference' trains and publishes one.")


def _show(card: "Card") -> None:
    from labeltransfer.runs.start.terminal import print_wrapped

    accuracy, n_held_out = card.scores["accuracy"], card.scores["n_cells"]
    judged = f"{accuracy:.1%} of {n_held_out:,} held-out cells right" if n_held_out else "no cell was held out"
    day = time.strftime("%Y-%m-%d", time.localtime(card.published))
    by = f" by {card.owner}" if card.owner else ""
    facts = (
        f"{card.technology}, {card.n_cells:,} cells, {len(card.labels)} labels, {len(card.genes):,} of "
        f"{card.n_genes:,} genes, {judged}; published {day}{by}. {card.description}"
    )
    print_wrapped(f"{card.name}  ", facts.strip())


def _map(options: argparse.Namespace) -> None:
    from labeltransfer.runs.library.library import Library
    from labeltransfer.runs.output.deliver import deliver
    from labeltransfer.runs.records.store import default_store
    from labeltransfer.runs.start.terminal import carry_out

    params = mapping_params_from_options(options, Library(default_store().root).card(options.model))
    check(params, options.out)
    for line in deliver(carry_out(params), options.out):
        print(line)
