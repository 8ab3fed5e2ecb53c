"""The command ``health``: whether the server is well, for a person, a cron job or a monitor."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from labeltransfer.runs.health.health import Health, health
from labeltransfer.units import duration, size

NOT_WELL = 1
"""Exit status where there is a problem."""


def add_command(commands: Any) -> None:
    """Add it to the parser."""
    parser = commands.add_parser("health", help="say whether the server is well: folder, disk, queue, workers")
    parser.set_defaults(command=_health, any_settings=True)
    parser.add_argument("--json", action="store_true", help="as JSON, for a monitor")


def _health(options: argparse.Namespace) -> int:
    found = health()
    print(json.dumps(asdict(found) | {"ok": found.ok}, indent=2) if options.json else in_words(found))
    return 0 if found.ok else NOT_WELL


def in_words(found: Health) -> str:
    """Some lines about it, the problems last."""
    lines = []
    if found.home:
        queue = found.queue
        wait = f", the longest for {duration(queue.longest_wait)}" if queue.waiting else ""
        lines += [
            f"Folder   {found.home}",
            f"Disk     {size(found.free_bytes)} of {size(found.total_bytes)} are free",
            f"Runs     {queue.running:,} running, {queue.waiting:,} waiting{wait}",
        ]
    lines += [f"Problem  {problem}" for problem in found.problems] or ["All is well."]
    return "\n".join(lines)
