"""What charts say of cells and labels."""

import html

import numpy as np
import pandas as pd

from labeltransfer.results.colours import NO_LABEL

HOVER_LIMIT = 50_000
"""More shown cells than this, and hover gives the cell's id alone: every text travels with the figure."""


def hover_texts(cells: pd.DataFrame) -> np.ndarray:
    """What hover says of each cell, array of shape (n_cells,): its id, and while they are not too many, its labels."""
    ids = [html.escape(str(cell)) for cell in cells["cell_id"]]
    if len(cells) > HOVER_LIMIT:
        return np.array(ids, dtype=object)
    observed = [html.escape(label) for label in as_text(cells["observed_label"])]
    predicted = [html.escape(label) for label in as_text(cells["predicted_label"])]
    parts = zip(ids, observed, predicted, cells["confidence"], strict=True)
    return np.array(
        [f"<b>{i}</b><br>observed: {o}<br>predicted: {p} ({c:.0%} sure)" for i, o, p, c in parts], dtype=object
    )


def as_text(colour: pd.Series) -> pd.Series:
    """Categories as text, missing ones named so."""
    text = colour.astype(object)
    return text.where(text.notna(), NO_LABEL).astype(str)


def short(text: str, length: int) -> str:
    """Text of at most ``length`` characters, cut in the middle: cell types often differ in their last word."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"
