"""Dot plot: genes across, groups of cells down."""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.results.figures.colours import SCALE, SCALE_ON_DARK
from labeltransfer.results.figures.confusion_matrix import label_axis
from labeltransfer.results.tile.markers import means, shares


def dot_table(
    expression: sp.csr_matrix, genes: pd.Index, *, shown: Sequence[str], groups: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Mean expression and share of expressing cells, one row for each gene and group.

    Parameters
    ----------
    expression
        ``log1p`` of counts per 10,000, CSR of shape (n_cells, n_genes).
    genes
        Names, of length n_genes.
    shown
        Genes wanted.
    groups
        Name of each group to its rows in ``expression``; a group without cells is left out.

    Returns
    -------
    Columns ``gene``, ``group``, ``mean``, ``share`` and ``n_cells``.
    """
    places = genes.get_indexer(pd.Index(shown))
    parts = []
    for name, rows in groups.items():
        if len(rows):
            part = expression[rows][:, places]
            own = {"gene": list(shown), "group": name, "mean": means(part), "share": shares(part), "n_cells": len(rows)}
            parts.append(pd.DataFrame(own))
    return pd.concat(parts, ignore_index=True)


def dot_chart(table: pd.DataFrame, *, dark: bool = False) -> alt.Chart:
    """Dots of :func:`dot_table`: larger where more cells have the gene, stronger where the mean is higher."""
    return (
        alt.Chart(table)
        .mark_circle(opacity=1)
        .encode(
            x=alt.X("gene:N", title=None, sort=list(dict.fromkeys(table["gene"])), axis=label_axis(labelAngle=-50)),
            y=alt.Y("group:N", title=None, sort=list(dict.fromkeys(table["group"])), axis=label_axis(44)),
            size=alt.Size(
                "share:Q",
                title="Cells with the gene",
                scale=alt.Scale(domain=[0, 1], range=[4, 320]),
                legend=alt.Legend(format=".0%", values=[0.1, 0.5, 1]),
            ),
            color=alt.Color(
                "mean:Q",
                title="Mean expression",
                scale=alt.Scale(range=[str(colour) for _, colour in (SCALE_ON_DARK if dark else SCALE)]),
                legend=alt.Legend(format=".1f", gradientLength=70),
            ),
            tooltip=[
                alt.Tooltip("gene:N", title="Gene"),
                alt.Tooltip("group:N", title="Cells"),
                alt.Tooltip("n_cells:Q", title="Compared", format=","),
                alt.Tooltip("mean:Q", title="Mean log1p of counts per 10,000", format=".2f"),
                alt.Tooltip("share:Q", title="Share with any count", format=".1%"),
            ],
        )
        .properties(height=alt.Step(42))
    )
