"""The command ``clean``: list what would be removed and how much that frees, ask, and remove it."""

import argparse
import sys
from typing import Any

from labeltransfer.errors import SettingsError
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.space import cleaning
from labeltransfer.runs.space.cleaning import Kind, Plan
from labeltransfer.storage.records import printable
from labeltransfer.units import parse_age, parse_size, size

HEADINGS: dict[Kind, str] = {
    "leftover": "Begun and never finished",
    "artefact": "Results that no run needs",
    "run": "Runs, with what no other run needs",
    "input": "Uploads and downloads that no run needs",
}


def add_command(commands: Any) -> None:
    """Add it to the parser."""
    parser = commands.add_parser("clean", help="remove old runs and what no run needs any more")
    parser.set_defaults(command=clean)
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        help="remove runs that ended longer ago than this, such as 90d, and uploads and downloads that no run needs",
    )
    parser.add_argument(
        "--until", metavar="SIZE", help="remove the oldest of them until everything takes at most this, such as 50GB"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask, as in a cron job")


def clean(options: argparse.Namespace) -> None:
    """Carry out the command.

    Raises
    ------
    SettingsError
        An option cannot be read, or there is no terminal to ask on.
    """
    older_than = None if options.older_than is None else parse_age(options.older_than, "--older-than")
    until = None if options.until is None else parse_size(options.until, "--until")
    store = default_store()
    plan = cleaning.plan(store, older_than=older_than, until=until)
    print_plan(plan)
    if not plan.items or options.dry_run:
        return
    if not options.yes and not _agreed():
        print("Nothing was removed.")
        return
    gone = cleaning.clean(store, plan)
    print(f"Removed {len(gone.items)} of {len(plan.items)}; {size(gone.n_bytes)} are free again.")
    for stay in gone.stays:
        print(f"  {stay.item.path.name} stays: {stay.why}.")


def print_plan(plan: Plan) -> None:
    """Print what would be removed, under a heading for each kind."""
    for kind, heading in HEADINGS.items():
        items = plan.of(kind)
        if items:
            print(f"{heading}: {len(items)}, {size(sum(item.n_bytes for item in items))}")
        for item in items:
            about = "" if item.about == item.path.name else item.about
            print(printable(f"  {size(item.n_bytes):>9}  {item.path.name}  {about}".rstrip()))
    print(f"{size(plan.n_bytes)} in all." if plan.items else "There is nothing to clean.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise SettingsError(
            "Nothing was removed: there is no terminal to ask on. Add --yes, or --dry-run to only look."
        )
    return input("Remove all of this for good? [y/N] ").strip().lower() in ("y", "yes")
