"""Numbers, sizes, durations and names in sentences, and the sizes and ages that people write."""

import re
from collections.abc import Iterable

from labeltransfer.errors import SettingsError

SIZES = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3}
AGES = {"d": 86400.0, "h": 3600.0}

LONGEST_NAME = 100
"""Characters of one name in a sentence."""


def size(n_bytes: float) -> str:
    """Size in decimal units, such as '3.78 GB'."""
    for unit, factor in SIZES.items():
        if n_bytes >= factor:
            number = n_bytes / factor
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
    return f"{n_bytes:.0f} bytes"


def parse_size(text: str, what: str) -> int:
    """Bytes of a size such as '50GB' or '1.5 TB'.

    Parameters
    ----------
    text
        As a person wrote it.
    what
        The variable or option, for the message.

    Raises
    ------
    SettingsError
        It is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT][bB])\s*", text)
    units = {unit.upper(): factor for unit, factor in SIZES.items()}
    if found is None:
        raise SettingsError(f"{what} is '{text}': give a number and a unit, such as 500MB, 50GB or 2TB.")
    return round(float(found[1]) * units[found[2].upper()])


def parse_age(text: str, what: str) -> float:
    """Seconds of an age such as '90d' or '36h'; raises SettingsError where it is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([dh])\s*", text)
    if found is None:
        raise SettingsError(f"{what} is '{text}': give a number of days or hours, such as 90d or 36h.")
    return float(found[1]) * AGES[found[2]]


def duration(seconds: float | None) -> str:
    """Duration in words, such as '3 min 20 s'."""
    if seconds is None or seconds < 0:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


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
