"""One page of results, ``results.md``: each benchmark keeps a section of it, with the machine that it ran on."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from labeltransfer.runs.queue.devices import devices

RESULTS = Path(__file__).parent / "results.md"
TITLE = (
    "# Measured\n\nEach section is written by the command that it names. Machines are shared and noisy: compare "
    "within a\ntable, not across tables. A spread is the smallest and the largest value.\n"
)


def keep(title: str, command: str, text: str, *, results: Path = RESULTS) -> None:
    """Print a section and put it into the page of results, in place of the one with the same title.

    Parameters
    ----------
    title
        Heading of the section.
    command
        The command that makes it, such as ``python -m benchmarks.speed.epochs``.
    text
        Markdown below the heading.
    """
    section = f"## {title}\n\n`{command}`, {date.today().isoformat()}, on {machine()}.\n\n{text.strip()}\n"
    print(section, flush=True)
    page = results.read_text() if results.exists() else TITLE
    parts = [part.rstrip() + "\n" for part in re.split(r"(?m)^(?=## )", page)]
    places = [i for i, part in enumerate(parts) if part.startswith(f"## {title}\n")]
    if places:
        parts[places[0]] = section
    else:
        parts.append(section)
    results.write_text("\n".join(parts))


def machine() -> str:
    """The machine in words: processor or GPU, cores, memory, system, versions."""
    names = " and ".join(device.name for device in devices())
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "scvi-tools"))
    python = platform.python_version()
    return (
        f"{names}, {os.cpu_count()} logical cores, {memory:.0f} GiB, {platform.system()}; Python {python}, {packages}"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median with the smallest and the largest value."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
