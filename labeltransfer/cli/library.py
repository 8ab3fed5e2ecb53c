"""Commands of the library of references: train one, publish it, list them."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.cli import options as table
from labeltransfer.cli.asked import check, params_from_options
from labeltransfer.presets import PRESETS, PresetName

if TYPE_CHECKING:
    from labeltransfer.runs.library.reference_card import Card

TRAIN_PRESET: PresetName = "atlas"


def add_commands(commands: Any) -> None:
    """Add them to the parser."""
    train = commands.add_parser("train-reference", help="train a reference alone, and publish it under a name")
    train.set_defaults(command=_train, default_preset=TRAIN_PRESET, query=None, filter_query=[])
    _add_naming(train)
    about = f"settings of the trainings (default: {TRAIN_PRESET})"
    train.add_argument("--preset", choices=list(PRESETS), help=about)
    table.add_options(train, table.TRAIN_REFERENCE, preset=TRAIN_PRESET)
    train.add_argument("--params", type=Path, metavar="FILE.json", help="any setting; the other options win over it")

    publish = commands.add_parser("publish", help="publish a finished run over a reference alone")
    publish.set_defaults(command=_publish)
    publish.add_argument("run_id", metavar="RUN_ID")
    _add_naming(publish)

    references = commands.add_parser("references", help="list the published references")
    references.set_defaults(command=_list)
    references.add_argument("--delete", metavar="NAME", help="delete one; results that were mapped onto it stay")


def _add_naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, metavar="NAME", help="what it is published as")
    parser.add_argument("--description", default="", metavar="TEXT", help="a few words about it")
    parser.add_argument("--replace", action="store_true", help="in place of a reference of that name")


def _train(options: argparse.Namespace) -> None:
    params = params_from_options(options)
    check(params)

    from labeltransfer.runs.library.library import Library, check_made_for_it
    from labeltransfer.runs.records.store import default_store
    from labeltransfer.runs.start.terminal import carry_out

    check_made_for_it(params)  # now, not after hours of training
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
    damaged = library.damaged()
    for name, why in damaged.items():
        print(f"{name}  damaged: {why}")
    if not cards and not damaged:
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
