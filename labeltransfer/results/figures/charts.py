"""Charts: composition, confidence, losses and counts; maps are in scatter.py, matrices in confusion_matrix.py."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from labeltransfer.results.figures.colours import FAINT, SIDE_COLOURS
from labeltransfer.results.figures.confusion_matrix import label_axis


def composition_chart(cells: pd.DataFrame, colours: Mapping[str, str]) -> alt.Chart:
    """Bars of the number of cells by predicted label, the largest first."""
    counts = cells["predicted_label"].value_counts().rename_axis("label").reset_index(name="n_cells")
    counts = counts[counts["n_cells"] > 0].assign(
        label=lambda c: c["label"].astype(str), share=lambda c: c["n_cells"] / max(len(cells), 1)
    )
    labels = list(counts["label"])
    return (
        alt.Chart(counts)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("n_cells:Q", title="Query cells"),
            y=alt.Y("label:N", title=None, sort=labels, axis=label_axis()),
            color=alt.Color(
                "label:N", legend=None, scale=alt.Scale(domain=labels, range=[colours.get(x, "#888") for x in labels])
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Predicted"),
                alt.Tooltip("n_cells:Q", title="Cells", format=","),
                alt.Tooltip("share:Q", title="Share of the query", format=".1%"),
            ],
        )
        .properties(height=alt.Step(22))
    )


def confidence_chart(cells: pd.DataFrame) -> alt.Chart:
    """Histogram of the confidence, in steps of 0.05."""
    counts, edges = np.histogram(cells["confidence"], bins=20, range=(0, 1))
    bars = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n_cells": counts})
    return (
        alt.Chart(bars)
        .mark_bar(color=SIDE_COLOURS["reference"])
        .encode(
            x=alt.X("low:Q", title="Confidence", bin="binned", axis=alt.Axis(format=".1f")),
            x2="high:Q",
            y=alt.Y("n_cells:Q", title="Cells"),
            tooltip=[
                alt.Tooltip("low:Q", title="From", format=".2f"),
                alt.Tooltip("high:Q", title="To", format=".2f"),
                alt.Tooltip("n_cells:Q", title="Cells", format=","),
            ],
        )
        .properties(height=260)
    )


def reliability_chart(before: Mapping[str, Any], after: Mapping[str, Any]) -> alt.LayerChart:
    """Share of right labels against confidence, before and after calibration, with the diagonal of perfect calibration.

    Both are curves as :func:`.consensus.curve` makes them.
    """
    names = {"as scANVI gave it": before, "calibrated": after}
    points = pd.concat(
        [
            pd.DataFrame({key: curve[key] for key in ("confidence", "accuracy", "n_cells")}).assign(which=name)
            for name, curve in names.items()
        ]
    )
    unit = alt.Scale(domain=[0, 1])
    diagonal = alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]})).mark_line(color=FAINT, strokeDash=[4, 4])
    marks = alt.Chart(points).encode(
        x=alt.X("confidence:Q", title="Confidence", scale=unit),
        y=alt.Y("accuracy:Q", title="Share of right labels", scale=unit),
        color=alt.Color(
            "which:N",
            title=None,
            legend=alt.Legend(orient="top"),
            scale=alt.Scale(domain=list(names), range=[SIDE_COLOURS["query"], SIDE_COLOURS["reference"]]),
        ),
        shape=alt.Shape("which:N", title=None),
        tooltip=[
            alt.Tooltip("which:N", title="Confidence"),
            alt.Tooltip("confidence:Q", title="Mean confidence", format=".2f"),
            alt.Tooltip("accuracy:Q", title="Share of right labels", format=".2f"),
            alt.Tooltip("n_cells:Q", title="Held-out reference cells", format=","),
        ],
    )
    lines = marks.mark_line().encode(shape=alt.Undefined)
    return (diagonal.encode(x="x:Q", y="y:Q") + lines + marks.mark_point(filled=True, size=70)).properties(height=300)


def loss_chart(events: Iterable[Mapping[str, Any]], *, stage: str | None = None) -> alt.Chart:
    """Training and validation loss by epoch, from the ``epoch`` events of one stage, or of all given."""
    rows = []
    for event in events:
        if stage is None or event.get("stage") == stage:
            for part in ("train", "validation"):
                loss = event.get(f"{part}_loss")
                if loss is not None and np.isfinite(loss):
                    name = "training" if part == "train" else part
                    rows.append({"epoch": int(event["epoch"]), "loss": float(loss), "cells": name})
    frame = pd.DataFrame(rows, columns=["epoch", "loss", "cells"])
    legend = alt.Legend(orient="top", symbolType="stroke", symbolSize=400)
    base = alt.Chart(frame).encode(
        x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("loss:Q", title="Loss per cell", scale=alt.Scale(zero=False, nice=True)),
        color=alt.Color(
            "cells:N",
            title=None,
            scale=alt.Scale(domain=["training", "validation"], range=["#0072b2", "#e69f00"]),
            legend=legend,
        ),
        strokeDash=alt.StrokeDash(
            "cells:N",
            title=None,
            legend=legend,
            scale=alt.Scale(domain=["training", "validation"], range=[[1, 0], [5, 3]]),
        ),
        tooltip=[
            alt.Tooltip("cells:N", title="Cells"),
            alt.Tooltip("epoch:Q", title="Epoch"),
            alt.Tooltip("loss:Q", title="Loss", format=",.2f"),
        ],
    )
    # A point a value, so that the first epoch shows before there is a line.
    return base.mark_line(point=alt.OverlayMarkDef(size=30)).properties(height=240)


def counts_figure(cells: pd.DataFrame) -> alt.Chart:
    """Counts per cell of each side, before and after preparation.

    Parameters
    ----------
    cells
        Columns ``side``, ``n_counts_raw`` and ``n_counts``.
    """
    columns = {"before": "n_counts_raw", "after": "n_counts"}
    logs = {when: np.log10(np.maximum(cells[name].to_numpy(dtype=float), 1)) for when, name in columns.items()}
    low = min(values.min() for values in logs.values())
    high = max(values.max() for values in logs.values())
    edges = np.linspace(low, max(high, low + 0.1), 41)
    parts = []
    for side in ("reference", "query"):
        own = (cells["side"] == side).to_numpy()
        for when, values in logs.items():
            counts, _ = np.histogram(values[own], bins=edges)
            parts.append(
                pd.DataFrame({"counts": 10 ** edges[:-1], "to": 10 ** edges[1:], "n_cells": counts}).assign(
                    share=counts / max(own.sum(), 1), side=side, when=when
                )
            )
    return (
        alt.Chart(pd.concat(parts, ignore_index=True))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("counts:Q", title="Counts per cell", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s")),
            y=alt.Y("share:Q", title="Share of the side's cells", axis=alt.Axis(format=".0%")),
            color=alt.Color(
                "side:N",
                title="Side",
                scale=alt.Scale(domain=list(SIDE_COLOURS), range=list(SIDE_COLOURS.values())),
                legend=alt.Legend(orient="top"),
            ),
            strokeDash=alt.StrokeDash(
                "when:N",
                title="Preparation",
                scale=alt.Scale(domain=["before", "after"], range=[[4, 3], [1, 0]]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                alt.Tooltip("side:N", title="Side"),
                alt.Tooltip("when:N", title="Preparation"),
                alt.Tooltip("counts:Q", title="From", format=",.0f"),
                alt.Tooltip("to:Q", title="To", format=",.0f"),
                alt.Tooltip("n_cells:Q", title="Cells", format=","),
            ],
        )
        .properties(height=260)
    )


def mean_variance_figure(genes: pd.DataFrame) -> go.Figure:
    """Mean and variance of each shared gene's counts, on logarithmic axes, the chosen genes in colour.

    Parameters
    ----------
    genes
        Index of gene names; columns ``highly_variable``, ``means`` and ``variances``.
    """
    seen = genes[(genes["means"] > 0) & (genes["variances"] > 0)]
    chosen = seen["highly_variable"].to_numpy(dtype=bool)
    figure = go.Figure()
    for rows, name, colour in ((~chosen, "other genes", FAINT), (chosen, "chosen", SIDE_COLOURS["reference"])):
        part = seen[rows]
        figure.add_trace(
            go.Scattergl(
                x=part["means"].to_numpy(dtype=float),
                y=part["variances"].to_numpy(dtype=float),
                mode="markers",
                name=f"{name} ({len(part):,})",
                text=part.index.astype(str),
                marker={"size": 4, "color": colour},
                hovertemplate="<b>%{text}</b><br>mean %{x:.3g}<br>variance %{y:.3g}<extra></extra>",
            )
        )
    figure.update_xaxes(type="log", title="Mean count", exponentformat="power")
    figure.update_yaxes(type="log", title="Variance of the count", exponentformat="power")
    figure.update_layout(height=420, margin={"l": 4, "r": 4, "t": 10, "b": 4}, legend={"itemsizing": "constant"})
    return figure
