"""Charts: colours, maps, the confusion matrix, losses, counts and genes."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labeltransfer.params import UNKNOWN
from labeltransfer.results.figures import charts, scatter
from labeltransfer.results.figures.colours import GREY, LABEL_COLOURS, NO_LABEL, label_colours
from labeltransfer.results.figures.confusion_matrix import confusion_chart, confusion_heatmap
from labeltransfer.results.figures.hover_text import short
from labeltransfer.results.scores.evaluate import confusion


@pytest.fixture
def cells() -> pd.DataFrame:
    observed = ["B", "T", "T", "B", "T", "NK", None, "B"]
    return pd.DataFrame(
        {
            "cell_id": [f"<cell{i}>" for i in range(8)],
            "side": ["reference"] * 3 + ["query"] * 5,
            "technology": ["Smart-seq2"] * 3 + ["10x"] * 5,
            "observed_label": pd.Categorical(observed),
            "predicted_label": pd.Categorical(["B", "T", "T", "B", "B", "T", "T", "B"]),
            "confidence": np.linspace(0.3, 1, 8).astype(np.float32),
            "scvi_1": np.arange(8.0),
            "scvi_2": np.arange(8.0) ** 2,
            "scanvi_1": -np.arange(8.0),
            "scanvi_2": np.arange(8.0),
            "n_counts_raw": np.linspace(10, 1000, 8),
            "n_counts": np.linspace(20, 500, 8),
        },
        index=[f"unique{i}" for i in range(8)],
    )


def points(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.customdata is not None]


def luminance(colour: str) -> float:
    """Relative luminance after WCAG."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_a_label_keeps_its_colour_whatever_the_order_of_labels() -> None:
    assert label_colours(["T", "B", "NK"]) == label_colours(["NK", "T", "B", "B"])


def test_unknown_and_missing_labels_are_grey() -> None:
    colours = label_colours(["B", UNKNOWN])
    assert colours[UNKNOWN] == colours[NO_LABEL] == GREY
    assert colours["B"] != GREY


def test_the_first_36_labels_have_colours_of_their_own_that_show_on_white_and_black() -> None:
    colours = label_colours(f"label {i:02d}" for i in range(36))
    assert len({colours[f"label {i:02d}"] for i in range(36)}) == 36
    assert all(0.05 < luminance(colour) < 0.62 for colour in LABEL_COLOURS)


def test_side_by_side_maps_have_the_same_axes_and_one_legend(cells: pd.DataFrame) -> None:
    figure = scatter.scatter(cells, cells["predicted_label"])
    layout = figure.layout
    assert layout.xaxis.range == layout.xaxis2.range
    assert layout.yaxis.range == layout.yaxis2.range
    assert layout.xaxis2.matches == "x"
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == ["B", "T"]
    assert {trace.legendgroup for trace in figure.data if not trace.showlegend} == {"B", "T"}


@pytest.mark.parametrize("split", [("reference", "query"), ()])
def test_each_point_carries_the_row_of_its_cell(cells: pd.DataFrame, split: tuple[str, ...]) -> None:
    figure = scatter.scatter(cells, cells["observed_label"], basis="scvi", split=split)
    rows = np.concatenate([trace.customdata for trace in points(figure)])
    x = np.concatenate([np.asarray(trace.x, dtype=float)[: len(trace.customdata)] for trace in points(figure)])
    assert sorted(rows) == list(range(8))
    assert np.array_equal(cells["scvi_1"].to_numpy()[rows], x)


def test_a_category_has_its_given_colour_and_no_label_is_grey(cells: pd.DataFrame) -> None:
    figure = scatter.scatter(cells, cells["observed_label"], split=(), colours={"B": "#123456"})
    colour = {trace.name: trace.marker.color for trace in figure.data}
    assert colour["B"] == "#123456"
    assert colour[NO_LABEL] == GREY


def test_numbers_are_drawn_on_one_scale_with_high_values_on_top(cells: pd.DataFrame) -> None:
    values = cells["confidence"].copy()
    values.iloc[4] = np.nan
    figure = scatter.scatter(cells, values, split=(), limits=(0, 1))
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    without, numbers = points(figure)
    assert list(without.customdata) == [4]
    assert list(np.diff(numbers.marker.color) > 0) == [True] * 6


def test_hover_shows_id_and_labels_and_no_markup_of_the_file(cells: pd.DataFrame) -> None:
    figure = scatter.scatter(cells, cells["observed_label"], split=())
    texts = {row: text for trace in points(figure) for row, text in zip(trace.customdata, trace.text, strict=True)}
    assert texts[4] == "<b>&lt;cell4&gt;</b><br>observed: T<br>predicted: B (70% sure)"


def test_names_are_at_the_medians_of_their_cells(cells: pd.DataFrame) -> None:
    figure = scatter.scatter(cells, cells["predicted_label"], basis="scvi", split=(), names=cells["predicted_label"])
    places = {note.text: (note.x, note.y) for note in figure.layout.annotations}
    assert places == {"B": (3.5, 12.5), "T": (3.5, 14.5)}


def test_no_lasso_where_a_selection_could_break_the_connection(
    cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scatter.scatter(cells, cells["side"]).layout.dragmode == "lasso"
    monkeypatch.setattr(scatter, "LASSO_LIMIT", 7)
    assert scatter.scatter(cells, cells["side"]).layout.dragmode == "pan"


def test_highlighted_cells_differ_from_all_others(cells: pd.DataFrame) -> None:
    chosen = (cells["predicted_label"] == "T").to_numpy()
    rest, front = scatter.highlight(cells, chosen, cells["predicted_label"], colours={"T": "#123456"}).data
    assert (len(rest.x), len(front.x)) == (4, 4)
    assert front.marker.color == "#123456"
    assert "rgba" in rest.marker.color


def test_the_confusion_chart_can_be_clicked_by_pair_of_labels(cells: pd.DataFrame) -> None:
    spec = confusion_chart(confusion(cells)).to_dict()
    click = next(param for param in spec["params"] if param["name"] == "cell")
    assert click["select"]["fields"] == ["observed_label", "predicted_label"]


def test_the_confusion_chart_lists_labels_that_the_reference_lacks_last_and_named(cells: pd.DataFrame) -> None:
    spec = confusion_chart(confusion(cells)).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["B", "T", "NK (not in reference)"]
    assert spec["layer"][0]["encoding"]["x"]["sort"] == ["B", "T"]


def test_the_confusion_figure_is_one_file_that_needs_no_network(cells: pd.DataFrame) -> None:
    page = confusion_heatmap(confusion(cells)).to_html(include_plotlyjs=True)
    assert "NK (not in reference)" in page
    assert '<script src="http' not in page
    assert "<script charset" in page or "plotly.js v" in page


def test_the_confusion_figure_holds_the_counts_of_the_matrix(cells: pd.DataFrame) -> None:
    heat = confusion_heatmap(confusion(cells)).data[0]
    assert list(heat.y) == ["B", "T", "NK (not in reference)"]
    assert np.asarray(heat.customdata).tolist() == [[2, 0], [1, 0], [0, 1]]


def test_losses_of_one_stage_show_training_and_validation() -> None:
    events = [
        {"stage": "integrate", "epoch": 1, "train_loss": 9.0, "validation_loss": None},
        {"stage": "integrate", "epoch": 2, "train_loss": 7.0, "validation_loss": 8.0},
        {"stage": "transfer", "epoch": 1, "train_loss": float("nan"), "validation_loss": 5.0},
    ]
    spec = charts.loss_chart(events, stage="integrate").to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(r["epoch"], r["cells"], r["loss"]) for r in rows] == [
        (1, "training", 9.0),
        (2, "training", 7.0),
        (2, "validation", 8.0),
    ]
    assert json.dumps(charts.loss_chart([], stage="integrate").to_dict())


def test_counts_before_and_after_are_shares_of_each_side(cells: pd.DataFrame) -> None:
    rows = pd.DataFrame(next(iter(charts.counts_figure(cells).to_dict()["datasets"].values())))
    sums = rows.groupby(["side", "when"])["share"].sum()
    assert len(sums) == 4
    assert np.allclose(sums, 1)


def test_confidence_bars_hold_every_cell(cells: pd.DataFrame) -> None:
    rows = next(iter(charts.confidence_chart(cells).to_dict()["datasets"].values()))
    assert sum(row["n_cells"] for row in rows) == 8


def test_chosen_genes_differ_from_the_others() -> None:
    genes = pd.DataFrame(
        {"means": [1.0, 2, 0], "variances": [1.0, 9, 0], "highly_variable": [False, True, False]},
        index=["Actb", "Elane", "Silent"],
    )
    others, chosen = charts.mean_variance_figure(genes).data
    assert list(chosen.text) == ["Elane"]
    assert list(others.text) == ["Actb"]


def test_long_names_keep_their_beginning_and_their_end() -> None:
    name = "CD4-positive, alpha-beta memory T cell, CD45RO-positive"
    cut = short(name, 34)
    assert len(cut) <= 34
    assert cut.startswith("CD4-positive")
    assert cut.endswith("positive")
    assert short("B cell", 34) == "B cell"
