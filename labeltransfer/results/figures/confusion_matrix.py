"""The confusion matrix as a chart."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from labeltransfer.results.figures.colours import INK, INK_ON_DARK
from labeltransfer.results.scores.evaluate import Normalize

MISSING_MARK = " (not in reference)"
"""Follows an observed label that cannot be predicted."""

SHARE_TITLES: dict[Normalize, str] = {
    "observed": "Share of the row",
    "predicted": "Share of the column",
    "none": "Share of all",
}

MOST_COLUMNS_WITH_TEXT = 40
"""More predicted labels than this, and nothing is written into the tiles."""

_INK = "0, 114, 178"

VERDICT_COLOURS = {
    "exact": "#009e73",
    "more specific": "#56b4e9",
    "more general": "#cc79a7",
    "develops into": "#f0e442",
    "sibling": "#e69f00",
    "unrelated": "#d55e00",
    "not in the ontology": "#9aa0a6",
}
"""Okabe and Ito's colours, which colour-blind eyes distinguish; dark text can be read on each."""

VERDICT_MARKS = dict(zip(VERDICT_COLOURS, "=↓↑→~×?", strict=True))
"""Mark of each verdict in a tile, so that none is shown by colour alone."""

STRONG = 0.1
"""Tiles with this part of the largest share, or more, are in full colour, other tiles with cells in a faint one."""


def confusion_chart(
    table: pd.DataFrame, *, normalize: Normalize = "observed", dark: bool = False
) -> alt.LayerChart | alt.FacetChart:
    """Clickable confusion matrix of :func:`.evaluate.confusion`.

    Where the table has a column ``verdict``, that colours the tiles and puts a mark into each that holds cells; tiles
    that hold little are fainter.

    A click selects one pair of labels under the name ``cell``, with the fields ``observed_label`` and
    ``predicted_label``. Rows are observed labels, those that the reference has first. ``dark`` says that it will
    are on a dark page.
    """
    shown = table.assign(
        row=table["observed_label"].where(table["in_reference"], table["observed_label"] + MISSING_MARK),
        agrees=table["observed_label"] == table["predicted_label"],
        written=_cell_texts(table, normalize),
    )
    by_verdict = "verdict" in table
    rows, columns = _order(table)
    has_room, ink = len(columns) <= MOST_COLUMNS_WITH_TEXT, INK_ON_DARK if dark else INK
    if by_verdict:
        shown = _with_marks(shown, has_room)
    click = alt.selection_point(name="cell", fields=["observed_label", "predicted_label"], toggle=False)
    base = alt.Chart(shown).encode(
        x=alt.X("predicted_label:N", title="Predicted label", sort=columns, axis=label_axis(labelAngle=-50)),
        y=alt.Y("row:N", title=None, sort=rows, axis=label_axis(52)),
        tooltip=[
            alt.Tooltip("observed_label:N", title="Observed"),
            alt.Tooltip("predicted_label:N", title="Predicted"),
            alt.Tooltip("n_cells:Q", title="Cells", format=","),
            alt.Tooltip("share:Q", title=SHARE_TITLES[normalize], format=".1%"),
            *([alt.Tooltip("mark:N", title="The prediction is")] if by_verdict else []),
        ],
    )
    tiles = base.mark_rect(cursor="pointer").encode(
        **(_by_verdict(shown) if by_verdict else _by_share(shown)),
        stroke=alt.condition(click, alt.value(ink if by_verdict else "#e69f00"), alt.value("#8c9298"), empty=False),
        strokeWidth=alt.condition(click, alt.value(3), alt.value(0.25), empty=False),
    )
    # Alone it would go unseen that equal labels meet: no colour says so.
    diagonal = base.transform_filter("datum.agrees").mark_rect(filled=False, stroke="#8c9298", strokeWidth=1.5)
    layers = [tiles.add_params(click), diagonal]
    if has_room or by_verdict:
        # Dark text can be read on every verdict's full colour, white on the blue of a large share.
        strong = alt.datum.strength == 1 if by_verdict else alt.datum.share > 0.55 * float(table["share"].max())
        bright = INK if by_verdict else "white"
        layers += [
            base.transform_filter(strong).mark_text(fontSize=10, color=bright).encode(text="written:N"),
            base.transform_filter(~strong).mark_text(fontSize=10, color=ink).encode(text="written:N"),
        ]
    step = 24 if len(rows) <= 40 else 16
    chart = alt.layer(*layers).properties(height=alt.Step(step))
    return chart if has_room else chart.properties(width=alt.Step(16))


def _by_share(table: pd.DataFrame) -> dict[str, Any]:
    """Channels of tiles that are the stronger the larger their share."""
    domain = [0, max(float(table["share"].max()), 1e-9)]
    scale = alt.Scale(domain=domain, range=[_ink(0.05), _ink(1)])
    legend = alt.Legend(format=".0%", gradientLength=140)
    return {"color": alt.Color("share:Q", title="Share", scale=scale, legend=legend)}


def _by_verdict(table: pd.DataFrame) -> dict[str, Any]:
    """Channels of tiles coloured by verdict; how much they hold sets how strongly."""
    named = [f"{VERDICT_MARKS[verdict]} {verdict}" for verdict in VERDICT_COLOURS]
    colours = alt.Scale(domain=named, range=list(VERDICT_COLOURS.values()))
    return {
        "color": alt.Color("mark:N", title="The prediction is", scale=colours, legend=alt.Legend(labelLimit=200)),
        "fillOpacity": alt.FillOpacity("strength:Q", scale=None, legend=None),
    }


def _with_marks(table: pd.DataFrame, has_room: bool) -> pd.DataFrame:
    """A table with the mark of each tile's verdict, and how strongly it is coloured; numbers where they fit."""
    marks, least = table["verdict"].map(VERDICT_MARKS).astype(str), STRONG * float(table["share"].max())
    full, some = table["share"] >= least, table["n_cells"] > 0
    return table.assign(
        mark=marks + " " + table["verdict"].astype(str),
        strength=np.where(some & full, 1.0, np.where(some, 0.4, 0.12)),
        written=np.where(some, marks + (" " + table["written"] if has_room else ""), ""),
    )


def _order(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Rows and columns from first to last: labels that both axes have come first, so that agreement is the diagonal."""
    known = sorted(table.loc[table["in_reference"], "observed_label"].unique(), key=str.lower)
    missing = sorted(table.loc[~table["in_reference"], "observed_label"].unique(), key=str.lower)
    predicted = sorted(table["predicted_label"].unique(), key=str.lower)
    columns = [label for label in known if label in predicted] + [label for label in predicted if label not in known]
    return known + [label + MISSING_MARK for label in missing], columns


def label_axis(longest: int = 38, **settings: Any) -> alt.Axis:
    """Axis of label names: none left out, long ones cut in the middle, for cell types often differ in the last word."""
    tail = longest // 3
    cut = f"slice(datum.label, 0, {longest - tail - 1}) + '…' + slice(datum.label, -{tail})"
    return alt.Axis(
        labelExpr=f"length(datum.label) > {longest} ? {cut} : datum.label",
        labelLimit=8 * longest,
        labelOverlap=False,
        labelFlush=False,
        ticks=False,
        domain=False,
        grid=False,
        **settings,
    )


def _ink(alpha: float) -> str:
    """The matrix's blue; its faint end lets the page's background through, light or dark."""
    return f"rgba({_INK}, {alpha})"


def _cell_texts(table: pd.DataFrame, normalize: Normalize) -> list[str]:
    """Text of each tile: counts, or per cent; nothing where there is none."""
    if normalize == "none":
        return [f"{n:,}" if n else "" for n in table["n_cells"]]
    shares = zip(table["n_cells"], 100 * table["share"], strict=True)
    return [("<1" if share < 0.5 else f"{share:.0f}") if n else "" for n, share in shares]


def confusion_heatmap(table: pd.DataFrame, *, title: str = "", normalize: Normalize = "observed") -> go.Figure:
    """The same matrix as one plotly figure, for a file that needs nothing else to show itself."""
    names = table["observed_label"].where(table["in_reference"], table["observed_label"] + MISSING_MARK)
    wide = table.assign(row=names)
    rows, columns = _order(table)
    share = wide.pivot(index="row", columns="predicted_label", values="share").reindex(index=rows, columns=columns)
    counts = wide.pivot(index="row", columns="predicted_label", values="n_cells").reindex(index=rows, columns=columns)
    figure = go.Figure(
        go.Heatmap(
            z=share.to_numpy(),
            x=columns,
            y=rows,
            customdata=counts.to_numpy(),
            text=wide.assign(written=_cell_texts(table, normalize))
            .pivot(index="row", columns="predicted_label", values="written")
            .reindex(index=rows, columns=columns)
            .to_numpy(),
            texttemplate="%{text}",
            colorscale=[[0, "#f4f7fa"], [1, f"rgb({_INK})"]],
            colorbar={"title": {"text": "Share"}, "tickformat": ".0%"},
            hovertemplate="observed: %{y}<br>predicted: %{x}<br>%{customdata:,} cells, %{z:.1%}<extra></extra>",
        )
    )
    figure.update_layout(
        title=title, height=240 + 26 * len(rows), xaxis_title="Predicted label", yaxis_title="Observed label"
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(tickangle=-50, automargin=True)
    return figure
