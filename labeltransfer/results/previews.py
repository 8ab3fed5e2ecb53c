"""Figures of what preparing did: counts per cell, and which genes were chosen."""

import altair as alt
import numpy as np
import pandas as pd

N_BINS = 40
MOST_POINTS = 4000
SIDE_COLOURS = {"reference": "#1f6f6b", "query": "#d07a22"}
STAGES = {"n_counts_raw": "In the file", "n_counts": "After preparing"}


def counts_figure(cells: pd.DataFrame) -> alt.FacetChart:
    """Histograms of counts per cell, before and after preparing.

    Parameters
    ----------
    cells
        Columns ``side``, ``n_counts_raw`` and ``n_counts``, shape (n_cells, n_columns).

    Returns
    -------
    Two panels, one above the other, with one logarithmic axis; bars give the share of a side's cells.
    """
    values = np.log10(cells[list(STAGES)].to_numpy(dtype=float).clip(min=1))
    low, high = np.floor(values.min() * 10) / 10, np.ceil(values.max() * 10) / 10 + 0.1
    edges = np.linspace(low, high, N_BINS + 1)
    rows = []
    for column, words in STAGES.items():
        for side in SIDE_COLOURS:
            own = cells.loc[cells["side"].astype(str) == side, column].to_numpy(dtype=float).clip(min=1)
            n_cells, _ = np.histogram(np.log10(own), edges)
            for i in np.flatnonzero(n_cells):
                share = n_cells[i] / max(1, len(own))
                rows.append((words, side, 10 ** edges[i], 10 ** edges[i + 1], int(n_cells[i]), share))
    bins = pd.DataFrame(rows, columns=["stage", "side", "low", "high", "cells", "share"])
    bars = (
        alt.Chart(bins)
        .mark_bar(opacity=0.6, binSpacing=0)
        .encode(
            x=alt.X(
                "low:Q",
                scale=alt.Scale(type="log", nice=False),
                title="Counts per cell",
                axis=alt.Axis(format="~s", tickCount=5),
            ),
            x2="high:Q",
            y=alt.Y("share:Q", title="Cells of the side", axis=alt.Axis(format="%", tickCount=3), stack=None),
            color=alt.Color(
                "side:N",
                title=None,
                scale=alt.Scale(domain=list(SIDE_COLOURS), range=list(SIDE_COLOURS.values())),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                alt.Tooltip("side:N", title="Side"),
                alt.Tooltip("low:Q", title="From", format=",.0f"),
                alt.Tooltip("high:Q", title="To", format=",.0f"),
                alt.Tooltip("cells:Q", title="Cells", format=","),
                alt.Tooltip("share:Q", title="Share of the side", format=".1%"),
            ],
        )
        .properties(height=110)
    )
    return bars.facet(
        row=alt.Row(
            "stage:N", title=None, sort=list(STAGES.values()), header=alt.Header(orient="top", labelAnchor="start")
        )
    )


def mean_variance_figure(genes: pd.DataFrame, *, seed: int = 0) -> alt.LayerChart:
    """Mean and variance of each gene's counts over cells, the chosen ones marked by colour and shape.

    Parameters
    ----------
    genes
        Indexed by gene name, with ``means``, ``variances`` and ``highly_variable``, shape (n_genes, n_columns). Of more
        than 4,000 genes, a random part of those not chosen is left out of the figure.
    seed
        Decides which part.
    """
    shown = genes[["means", "variances", "highly_variable"]].astype({"means": float, "variances": float})
    shown = shown[(shown["means"] > 0) & (shown["variances"] > 0)].rename_axis("gene").reset_index()
    shown["gene"] = shown["gene"].astype(str)
    chosen = shown["highly_variable"].astype(bool)
    names = {True: f"chosen ({int(chosen.sum()):,})", False: f"not chosen ({int((~chosen).sum()):,})"}
    rest = shown[~chosen]
    room = max(500, MOST_POINTS - int(chosen.sum()))
    rest = rest.sample(min(len(rest), room), random_state=seed)
    both = pd.concat([rest, shown[chosen]])
    both["genes"] = both.pop("highly_variable").astype(bool).map(names)
    domain = [names[True], names[False]]
    return (
        alt.Chart(both)
        .mark_point(filled=True, size=16, opacity=0.55)
        .encode(
            x=alt.X(
                "means:Q", scale=alt.Scale(type="log"), title="Mean count", axis=alt.Axis(format="~g", tickCount=5)
            ),
            y=alt.Y(
                "variances:Q", scale=alt.Scale(type="log"), title="Variance", axis=alt.Axis(format="~g", tickCount=5)
            ),
            color=alt.Color(
                "genes:N",
                title=None,
                scale=alt.Scale(domain=domain, range=["#d07a22", "#9aa5a6"]),
                legend=alt.Legend(orient="top"),
            ),
            shape=alt.Shape("genes:N", title=None, scale=alt.Scale(domain=domain, range=["triangle-up", "circle"])),
            tooltip=["gene:N", alt.Tooltip("means:Q", format=".3g"), alt.Tooltip("variances:Q", format=".3g")],
        )
        .properties(height=330)
    )
