"""Words for numbers."""

from collections.abc import Iterable

AGAIN = "Get it again from its source, or save it anew with anndata's write_h5ad."
"""The way out of most damage."""

LONGEST_NAME = 100
"""Characters of one name in a sentence."""


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 cell", "1,200 cells"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def shorten(values: Iterable[object], most: int = 12) -> str:
    """List values in a sentence, at most ``most`` of them, each as ``named`` gives it."""
    names = [named(value) for value in values]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"


def named(value: object) -> str:
    """A value as text, cut where it is longer than a name in a sentence can be: a file may hold any."""
    text = str(value)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
