"""What is promised of the labels at levels, in one sentence for pages, report and command line."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labeltransfer.results.levels.back_off import NO_LEVEL
from labeltransfer.results.levels.hierarchy import FINEST


def promise_words(trust: Mapping[str, Any]) -> str:
    """The promise, or why there is none.

    Parameters
    ----------
    trust
        ``trust.json`` of a run with ``levels`` and ``alarm``.
    """
    promise = trust["levels"]["promise"]
    bear = f"{promise['error_to_bear']:.1%}"
    if trust["alarm"]["level"] == "alarm":
        return f"Nothing is promised of their error: the alarm is up, and the {bear} asked for may be far exceeded."
    if not promise["kept"]:
        return (
            f"Nothing is promised of their error: that at most {bear} are wrong could not be shown on "
            f"{promise['n_cells']:,} cells."
        )
    return f"At most {bear} of them are expected to be wrong, as far as the query resembles the reference."


def coverage_words(levels: pd.Series) -> str:
    """How fine the labels of some cells are; ``levels`` is their column ``label_level``."""
    counts = levels.value_counts()
    n_finest, n_none = int(counts.get(FINEST, 0)), int(counts.get(NO_LEVEL, 0))
    return (
        f"{n_finest:,} of {len(levels):,} cells have one of the reference's labels, "
        f"{len(levels) - n_finest - n_none:,} a coarser one, {n_none:,} none."
    )
