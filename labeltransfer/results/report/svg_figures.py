"""Figures of a report as plain numbers, which the template draws as SVG: small, sharp and readable on any page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.results.figures.colours import GREY, NO_LABEL
from labeltransfer.results.maps.sampling import sample_rows
from labeltransfer.results.scores.evaluate import pair_counts, reference_labels

MOST_CELLS = 3000
"""Cells of a map; of more, a sample that keeps every label."""
SIDE = 320
"""Length of a map's edge in its own units."""
CURVE = 240


@dataclass(frozen=True)
class Layer:
    """Cells of one colour in a map: ``path`` draws a dot at each of them."""

    label: str
    colour: str
    n_cells: int
    path: str


@dataclass(frozen=True)
class Map:
    """One map: what it shows and its layers, the most common label first; ``n_drawn`` of ``n_cells`` are drawn."""

    title: str
    layers: tuple[Layer, ...]
    n_drawn: int
    n_cells: int


def maps(cells: pd.DataFrame, colours: Mapping[str, str], *, basis: str = "scanvi") -> list[Map]:
    """Maps of a latent: reference by observed, query by predicted and, where it has some, by observed label.

    Parameters
    ----------
    cells
        The table of cells.
    colours
        Colour by label.
    basis
        "scanvi" or "scvi".
    """
    places = cells[[f"{basis}_1", f"{basis}_2"]].to_numpy(dtype=float)
    low, span = places.min(axis=0), np.maximum(np.ptp(places, axis=0).max(), 1e-9)
    where = np.rint((places - low) / span * (SIDE - 8) + 4).astype(int)
    where[:, 1] = SIDE - where[:, 1]  # SVG counts downwards
    wanted = [
        ("Reference, observed label", "reference", "observed_label"),
        ("Query, predicted label", "query", "predicted_label"),
        ("Query, observed label", "query", "observed_label"),
    ]
    found = []
    for title, side, column in wanted:
        own = np.flatnonzero((cells["side"] == side).to_numpy())
        if cells[column].iloc[own].notna().any():
            drawn = own[sample_rows(cells.iloc[own], n_most=MOST_CELLS)]
            labels = cells[column].iloc[drawn].astype(object)
            found.append(Map(title, _layers(where[drawn], labels, colours), len(drawn), len(own)))
    return found


def _layers(where: np.ndarray, labels: pd.Series, colours: Mapping[str, str]) -> tuple[Layer, ...]:
    named = labels.where(labels.notna(), NO_LABEL).astype(str).to_numpy()
    found = []
    for label, n_cells in pd.Series(named).value_counts().items():
        spots = where[named == label]
        path = "".join(f"M{x} {y}h0" for x, y in spots.tolist())
        found.append(Layer(str(label), colours.get(str(label), GREY), int(n_cells), path))
    return tuple(found)


@dataclass(frozen=True)
class Tile:
    """A cell of the confusion matrix: ``n_cells`` of the row's ``n_row``."""

    observed: str
    predicted: str
    n_cells: int
    n_row: int

    @property
    def share(self) -> float:
        return self.n_cells / self.n_row if self.n_row else 0.0


def matrix(cells: pd.DataFrame) -> tuple[list[str], list[list[Tile]], set[str]]:
    """Confusion matrix of the query: predicted labels of the columns, rows of tiles, and the labels the reference has.

    Labels that both axes have come first, so that agreement is the diagonal.
    """
    pairs = pair_counts(cells)
    both = [label for label in pairs.index if label in set(pairs.columns)]
    columns = both + [label for label in pairs.columns if label not in both]
    rows = both + [label for label in pairs.index if label not in both]
    totals = pairs.sum(axis=1)
    tiles = [[Tile(o, p, int(pairs.loc[o, p]), int(totals[o])) for p in columns] for o in rows]
    return columns, tiles, set(reference_labels(cells))


@dataclass(frozen=True)
class LabelScore:
    """Scores of one label as ratios: ``n_right`` of ``n_called`` scored cells is its precision, of ``n_observed`` its
    recall; ``n_given`` counts all query cells that were given it.
    """

    label: str
    n_right: int
    n_called: int
    n_observed: int
    n_given: int

    @property
    def f1(self) -> float | None:
        return 2 * self.n_right / (self.n_called + self.n_observed) if self.n_observed else None


def label_scores(cells: pd.DataFrame) -> list[LabelScore]:
    """Scores of each label over the query's scored cells, the denominators of :func:`.evaluate.per_label` with them."""
    pairs = pair_counts(cells)
    judged = pairs[pairs.index.isin(reference_labels(cells))]
    given = cells.loc[cells["side"] == "query", "predicted_label"].value_counts()
    given = given[given > 0].rename(index=str)
    observed, called = judged.sum(axis=1), judged.sum(axis=0)
    return [
        LabelScore(
            label,
            int(judged.loc[label, label]) if label in judged.index and label in judged.columns else 0,
            int(called.get(label, 0)),
            int(observed.get(label, 0)),
            int(given.get(label, 0)),
        )
        for label in sorted(set(judged.index) | set(given.index))
    ]


def curve_points(curve: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Points of a reliability curve: place in the figure, what it says, and the radius that its number of cells sets.

    Empty where the curve is absent or not what it should be.
    """
    if not isinstance(curve, Mapping) or not {"confidence", "accuracy", "n_cells"} <= set(curve):
        return []
    n_all = max(sum(curve["n_cells"]), 1)
    return [
        {
            "x": round(c * CURVE, 1),
            "y": round((1 - a) * CURVE, 1),
            "r": round(2.5 + 9 * (n / n_all) ** 0.5, 1),
            "confidence": c,
            "accuracy": a,
            "n_cells": n,
        }
        for c, a, n in zip(curve["confidence"], curve["accuracy"], curve["n_cells"], strict=True)
    ]
