"""Maps of the cells: WebGL scatters of an embedding in two dimensions."""

import html
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labeltransfer.results.figures.colours import (
    FAINT,
    GREY,
    INK,
    INK_ON_DARK,
    NO_LABEL,
    SCALE,
    SCALE_ON_DARK,
    label_colours,
)
from labeltransfer.results.figures.hover_text import Marks, coded, hover_texts, short

Basis = Literal["scvi", "scanvi"]

LASSO_LIMIT = 100_000
"""More shown cells than this, and a selection's way back to the server could break the connection."""


def scatter(
    cells: pd.DataFrame,
    colour: pd.Series,
    *,
    basis: Basis = "scanvi",
    split: Sequence[str] = ("reference", "query"),
    colours: Mapping[str, str] | None = None,
    titles: Mapping[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    names: pd.Series | None = None,
    rows: np.ndarray | None = None,
    dark: bool = False,
    height: int = 600,
) -> go.Figure:
    """Draw cells on a map.

    The figure depends on nothing that is selected in it; each point carries its row as ``customdata``.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows.
    colour
        What colours them, of length n_cells: text or categories for one colour each, numbers for a scale.
    basis
        Which of the two maps.
    split
        Sides that get a panel of their own, with the same axes; empty draws all cells in one.
    colours
        Colour by category, else taken from the categories at hand.
    titles
        Title of each panel by side.
    limits
        Ends of the colour scale of numbers; else the smallest and largest.
    names
        Groups, of length n_cells, whose names to write at the medians of their cells.
    rows
        What each point carries as its row, of length n_cells, where ``cells`` are a sample; else its place in them.
    dark
        Whether the page is dark.
    height
        In pixels.
    """
    panels = [side for side in split if (cells["side"] == side).any()] or [""]
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        horizontal_spacing=0.02,
        subplot_titles=[(titles or {}).get(side, side.capitalize()) for side in panels] if panels != [""] else None,
    )
    points = cells[[f"{basis}_1", f"{basis}_2"]].to_numpy(dtype=np.float32)
    marks = Marks(hover_texts(cells), np.arange(len(cells)) if rows is None else rows)
    written: list[dict[str, Any]] = []
    groups = _numbers if pd.api.types.is_numeric_dtype(colour) else _categories
    for place, side in enumerate(panels, start=1):
        shown = (cells["side"] == side).to_numpy() if side else np.ones(len(cells), dtype=bool)
        for trace in groups(points, marks, colour, shown, colours or {}, first=place == 1):
            figure.add_trace(trace, row=1, col=place)
        if names is not None:
            written += _names(points, names, shown, place, INK_ON_DARK if dark else INK)
    # All at once: each one added singly makes plotly check all before it.
    figure.update_layout(annotations=[*figure.layout.annotations, *written])
    # A name at the edge needs room on both sides of its group.
    _lay_out(figure, points, n_cells=len(cells), height=height, margin=0.07 if names is None else 0.14)
    if groups is _numbers:
        low, high = limits or value_range(colour)
        bar = {"title": {"text": short(str(colour.name or ""), 24)}, "thickness": 12, "len": 0.6, "outlinewidth": 0}
        figure.update_layout(
            coloraxis={"colorscale": SCALE_ON_DARK if dark else SCALE, "cmin": low, "cmax": high, "colorbar": bar}
        )
    return figure


def highlight(
    cells: pd.DataFrame,
    chosen: np.ndarray,
    colour: pd.Series,
    *,
    colours: Mapping[str, str],
    basis: Basis = "scanvi",
    n_others: int | None = None,
) -> go.Figure:
    """Draw some cells (bool array of length n_cells) in colour, all others faintly; ``n_others`` there are in all."""
    points = cells[[f"{basis}_1", f"{basis}_2"]].to_numpy(dtype=np.float32)
    n_drawn = int((~chosen).sum())
    counted = f"{n_drawn:,}" if n_others in (None, n_drawn) else f"{n_drawn:,} of {n_others:,} drawn"
    figure = go.Figure(
        go.Scattergl(
            x=points[~chosen, 0],
            y=points[~chosen, 1],
            mode="markers",
            name=f"other cells ({counted})",
            marker={"size": _size(len(cells)), "color": FAINT},
            hoverinfo="skip",
        )
    )
    own = np.flatnonzero(chosen)
    front = points[own], Marks(hover_texts(cells.iloc[own]), own), colour.iloc[own], np.ones(len(own), dtype=bool)
    for trace in _categories(*front, colours, first=False, size=_size(len(cells)) + 2):
        figure.add_trace(trace.update(showlegend=True))
    _lay_out(figure, points, n_cells=len(cells), height=480)
    figure.update_layout(dragmode="pan", legend={"orientation": "h", "y": 0, "yanchor": "top"})
    return figure


def _categories(
    points: np.ndarray,
    marks: Marks,
    colour: pd.Series,
    shown: np.ndarray,
    colours: Mapping[str, str],
    *,
    first: bool,
    size: float | None = None,
) -> list[go.Scattergl]:
    """One trace a category, the largest at the bottom; in the legend they are in alphabetical order."""
    codes, names = coded(colour)
    counts = np.bincount(codes, minlength=len(names))
    present = [code for code in np.argsort(-counts, kind="stable") if counts[code]]
    colours = label_colours(names[code] for code in present) | dict(colours)
    order = sorted((names[code] for code in present), key=lambda name: (name == NO_LABEL, name.lower()))
    traces = []
    for code in present:
        name, rows = names[code], np.flatnonzero(shown & (codes == code))
        # A category that only the other panel has still needs its line in the legend.
        if len(rows) or first:
            traces.append(
                go.Scattergl(
                    x=points[rows, 0] if len(rows) else [None],
                    y=points[rows, 1] if len(rows) else [None],
                    mode="markers",
                    name=short(name, 34),
                    legendgroup=name,
                    legendrank=1 + order.index(name),
                    showlegend=first,
                    marker={"size": size or _size(len(colour)), "color": colours.get(name, GREY), "opacity": 0.8},
                    **marks.of(rows),
                )
            )
    return traces


def _numbers(
    points: np.ndarray,
    marks: Marks,
    colour: pd.Series,
    shown: np.ndarray,
    colours: Mapping[str, str],
    *,
    first: bool,
) -> list[go.Scattergl]:
    """One trace, high values on top; cells without a number lie in grey below."""
    values = colour.to_numpy(dtype=float)
    size = _size(len(colour))
    without = np.flatnonzero(shown & np.isnan(values))
    rows = np.flatnonzero(shown & ~np.isnan(values))
    rows = rows[np.argsort(values[rows], kind="stable")]
    traces = []
    if len(without):
        traces.append(
            go.Scattergl(
                x=points[without, 0],
                y=points[without, 1],
                mode="markers",
                name="no value",
                showlegend=False,
                marker={"size": size, "color": FAINT},
                **marks.of(without),
            )
        )
    traces.append(
        go.Scattergl(
            x=points[rows, 0],
            y=points[rows, 1],
            mode="markers",
            name=str(colour.name or ""),
            showlegend=False,
            marker={"size": size, "color": values[rows].astype(np.float32), "coloraxis": "coloraxis", "opacity": 0.85},
            **marks.of(rows, "<br>%{marker.color:.3g}"),
        )
    )
    return traces


def _names(points: np.ndarray, names: pd.Series, shown: np.ndarray, place: int, ink: str) -> Iterator[dict[str, Any]]:
    """Each group's name at the median of its cells; annotations, because text would lie under WebGL points."""
    codes, groups = coded(names)
    for code in np.unique(codes[shown]):
        name = groups[code]
        if name != NO_LABEL:
            x, y = np.median(points[shown & (codes == code)], axis=0).tolist()
            lines = textwrap.wrap(short(name, 40), 18)
            yield {
                "x": x,
                "y": y,
                "xref": f"x{place}",
                "yref": f"y{place}",
                "text": "<br>".join(html.escape(line) for line in lines),
                "showarrow": False,
                "font": {"size": 11, "color": ink, "shadow": "auto", "weight": 600},
            }


def _lay_out(figure: go.Figure, points: np.ndarray, *, n_cells: int, height: int, margin: float = 0.07) -> None:
    """Same ranges and scale on all axes, no ticks: only neighbourhood means anything on such a map."""
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    edge = margin * (high - low) + 1e-6
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "title": None}
    figure.update_xaxes(range=[low[0] - edge[0], high[0] + edge[0]], matches="x", **bare)
    figure.update_yaxes(range=[low[1] - edge[1], high[1] + edge[1]], matches="y", **bare)
    figure.update_layout(
        height=height,
        margin={"l": 4, "r": 4, "t": 34, "b": 4},
        legend={"itemsizing": "constant", "font": {"size": 12}, "title": {"text": ""}},
        dragmode="lasso" if n_cells <= LASSO_LIMIT else "pan",
        hoverlabel={"align": "left"},
    )


def value_range(colour: pd.Series) -> tuple[float, float]:
    """Smallest and largest number; 0 and 1 where there is none."""
    values = colour.to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _size(n_points: int) -> float:
    """Diameter of a point in pixels: smaller for more cells."""
    return float(np.clip(14 - 2.6 * np.log10(max(n_points, 1)), 2.0, 8.0))
