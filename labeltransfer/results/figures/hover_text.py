"""Texts of cells and labels in charts."""

import html
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labeltransfer.results.figures.colours import NO_LABEL

HOVER_LIMIT = 60_000
"""More cells in a figure than this, and hover gives the cell's id alone: every text travels with the figure."""


@dataclass(frozen=True)
class Marks:
    """What each point of a map says on hover, and the row that it carries; arrays of shape (n_cells,)."""

    texts: np.ndarray
    rows: np.ndarray

    def of(self, points: np.ndarray, more: str = "") -> dict[str, object]:
        """Settings of a trace with some of the points; ``more`` is below their texts."""
        return {
            "customdata": self.rows[points].astype(np.int32),
            "text": self.texts[points],
            "hovertemplate": f"%{{text}}{more}<extra></extra>",
        }


def hover_texts(cells: pd.DataFrame) -> np.ndarray:
    """Hover text of each cell, array of shape (n_cells,): its id, and while they are not too many, its labels."""
    ids = [html.escape(str(cell)) for cell in cells["cell_id"].to_numpy(dtype=object)]
    if len(cells) > HOVER_LIMIT:
        return np.array(ids, dtype=object)
    observed, seen = coded(cells["observed_label"])
    predicted, called = coded(cells["predicted_label"])
    per_cent = np.rint(100 * cells["confidence"].to_numpy(dtype=float)).astype(int)
    # Many cells say the same but for their id: each such text is put together once.
    same, pairs = pd.factorize((observed * len(called) + predicted) * 101 + per_cent)
    ends = [
        f"</b><br>observed: {html.escape(seen[pair // 101 // len(called)])}"
        f"<br>predicted: {html.escape(called[pair // 101 % len(called)])} ({pair % 101}% sure)"
        for pair in pairs.tolist()
    ]
    return np.array([f"<b>{i}{ends[end]}" for i, end in zip(ids, same.tolist(), strict=True)], dtype=object)


def coded(colour: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Categories as numbers from 0 on, array of shape (n_cells,), and their names; missing ones are named so."""
    codes, values = pd.factorize(colour)
    by_name, names = pd.factorize(np.array([*map(str, values), NO_LABEL], dtype=object))
    return by_name[codes], list(names)  # -1, no value, is the last


def short(text: str, length: int) -> str:
    """Text of at most ``length`` characters, cut in the middle: cell types often differ in their last word."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"
