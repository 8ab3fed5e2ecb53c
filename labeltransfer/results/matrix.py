"""The confusion matrix as a chart."""

from typing import Any

import altair as alt
import pandas as pd
import plotly.graph_objects as go

from labeltransfer.results.colours import GREY, INK, INK_ON_DARK
from labeltransfer.results.evaluate import Normalize
from labeltransfer.results.ontology import VERDICTS

MISSING_MARK = " (not in reference)"
"""Stands behind an observed label that cannot be predicted."""

SHARE_TITLES: dict[Normalize, str] = {
    "observed": "Share of the row",
    "predicted": "Share of the column",
    "none": "Share of all",
}

MOST_COLUMNS_WITH_TEXT = 40
"""More predicted labels than this, and nothing is written into the tiles."""

NO_VERDICT = "no verdict"
"""Stands where one of two labels has no term of the Cell Ontology."""

MARKS = dict(zip([*VERDICTS, NO_VERDICT], "=↓↑~×?", strict=True))
"""What stands for each verdict in a tile, so that none is told by colour alone."""

_VERDICT_COLOURS = ["#009e73", "#56b4e9", "#cc79a7", "#e69f00", "#d55e00", GREY]
"""Those of Okabe and Ito on which dark text can be read."""

STRONG = 0.1
"""Tiles with at least this part of the largest share stand in full colour, the others with cells in a faint one."""

_INK = "0, 114, 178"


def confusion_chart(
    table: pd.DataFrame, *, normalize: Normalize = "observed", dark: bool = False
) -> alt.LayerChart | alt.FacetChart:
    """Clickable confusion matrix of :func:`.evaluate.confusion`.

    A click selects one pair of labels under the name ``cell``, with the fields ``observed_label`` and
    ``predicted_label``. Rows are observed labels, those that the reference has first. ``dark`` says that it will
    stand on a dark page.
    """
    base, click = _base(table, normalize, _cell_texts(table, normalize)), _click()
    tiles = base.mark_rect(cursor="pointer").encode(
        color=alt.Color(
            "share:Q",
            title="Share",
            scale=alt.Scale(domain=[0, max(float(table["share"].max()), 1e-9)], range=[_ink(0.05), _ink(1)]),
            legend=alt.Legend(format=".0%", gradientLength=140),
        ),
        stroke=alt.condition(click, alt.value("#e69f00"), alt.value("#8c9298"), empty=False),
        strokeWidth=alt.condition(click, alt.value(3), alt.value(0.25), empty=False),
    )
    layers = [tiles.add_params(click), _diagonal(base)]
    if _has_room(table):
        strong = alt.datum.share > 0.55 * float(table["share"].max())
        layers += [
            base.transform_filter(strong).mark_text(fontSize=10, color="white").encode(text="written:N"),
            base.transform_filter(~strong)
            .mark_text(fontSize=10, color="#e4eaea" if dark else "#1d2b2b")
            .encode(text="written:N"),
        ]
    return _sized(layers, table)


def verdict_chart(
    table: pd.DataFrame, *, normalize: Normalize = "observed", dark: bool = False
) -> alt.LayerChart | alt.FacetChart:
    """The same matrix coloured by the verdict of each pair, which a mark in the tile tells as well.

    ``table`` has a column ``verdict`` beside those of :func:`.evaluate.confusion`, missing where there is none. Tiles
    with at least ``STRONG`` of the largest share stand in full colour, other tiles with cells in a faint one, empty
    ones fainter still. A click selects as in :func:`confusion_chart`.
    """
    said = [verdict if isinstance(verdict, str) else NO_VERDICT for verdict in table["verdict"]]
    limit = STRONG * float(table["share"].max())
    texts = _cell_texts(table, normalize) if _has_room(table) else [""] * len(table)
    judged = table.assign(
        said=[f"{MARKS[verdict]} {verdict}" for verdict in said],
        strength=[1.0 if share >= limit else 0.4 if n else 0.12 for n, share in zip(*_numbers(table), strict=True)],
    )
    written = [
        f"{MARKS[verdict]} {text}".rstrip() if n else ""
        for verdict, text, n in zip(said, texts, table["n_cells"], strict=True)
    ]
    base, click = _base(judged, normalize, written, alt.Tooltip("said:N", title="Verdict")), _click()
    tiles = base.mark_rect(cursor="pointer").encode(
        color=alt.Color(
            "said:N",
            title="Verdict",
            scale=alt.Scale(domain=[f"{mark} {name}" for name, mark in MARKS.items()], range=_VERDICT_COLOURS),
        ),
        opacity=alt.Opacity("strength:Q", scale=None, legend=None),
        stroke=alt.condition(click, alt.value(INK_ON_DARK if dark else INK), alt.value("#8c9298"), empty=False),
        strokeWidth=alt.condition(click, alt.value(3), alt.value(0.25), empty=False),
    )
    strong = alt.datum.strength == 1
    layers = [
        tiles.add_params(click),
        _diagonal(base),
        base.transform_filter(strong).mark_text(fontSize=10, color=INK).encode(text="written:N"),
        base.transform_filter(~strong)
        .mark_text(fontSize=10, color=INK_ON_DARK if dark else INK)
        .encode(text="written:N"),
    ]
    return _sized(layers, table)


def _base(table: pd.DataFrame, normalize: Normalize, written: list[str], *more: alt.Tooltip) -> alt.Chart:
    """Both axes, what hover says, and the text of each tile."""
    shown = table.assign(
        row=table["observed_label"].where(table["in_reference"], table["observed_label"] + MISSING_MARK),
        agrees=table["observed_label"] == table["predicted_label"],
        written=written,
    )
    rows, columns = _order(table)
    return alt.Chart(shown).encode(
        x=alt.X("predicted_label:N", title="Predicted label", sort=columns, axis=label_axis(labelAngle=-50)),
        y=alt.Y("row:N", title=None, sort=rows, axis=label_axis(52)),
        tooltip=[
            alt.Tooltip("observed_label:N", title="Observed"),
            alt.Tooltip("predicted_label:N", title="Predicted"),
            *more,
            alt.Tooltip("n_cells:Q", title="Cells", format=","),
            alt.Tooltip("share:Q", title=SHARE_TITLES[normalize], format=".1%"),
        ],
    )


def _click() -> alt.Parameter:
    return alt.selection_point(name="cell", fields=["observed_label", "predicted_label"], toggle=False)


def _diagonal(base: alt.Chart) -> alt.Chart:
    """Outlines where equal labels meet: alone it would go unseen, for no colour says so."""
    return base.transform_filter("datum.agrees").mark_rect(filled=False, stroke="#8c9298", strokeWidth=1.5)


def _has_room(table: pd.DataFrame) -> bool:
    """Whether there is room for numbers in the tiles."""
    return table["predicted_label"].nunique() <= MOST_COLUMNS_WITH_TEXT


def _sized(layers: list[alt.Chart], table: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    step = 24 if table["observed_label"].nunique() <= 40 else 16
    chart = alt.layer(*layers).properties(height=alt.Step(step))
    return chart if _has_room(table) else chart.properties(width=alt.Step(16))


def _numbers(table: pd.DataFrame) -> tuple[list[int], list[float]]:
    return table["n_cells"].tolist(), table["share"].tolist()


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
    """What stands in each tile: counts, or per cent; nothing where there is none."""
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
