"""One colour per label, in every chart and export."""

from collections.abc import Iterable

from labeltransfer.params import UNKNOWN

GREY = "#9aa0a6"
"""Colour of cells without a label, readable on white and on black."""

FAINT = "rgba(140, 146, 152, 0.28)"
"""Colour of the cells in the background."""

NO_LABEL = "no label"
"""How a missing label is called in charts."""

# fmt: off
LABEL_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6900ff", "#4b78ff", "#b40f2d",
    "#e1c378", "#784b78", "#96d2a5", "#ff2d69", "#4b96f0", "#69d2e1", "#693cc3", "#e1784b", "#00e13c",
    "#4b693c", "#c30000", "#4b3ce1", "#c300a5", "#963c5a", "#a587c3", "#c34bd2", "#a5695a", "#d28787",
    "#78d2c3", "#5a963c", "#b4c387", "#b45a96", "#d22dff", "#ff96ff", "#965a78", "#694b96", "#e19669",
)
# fmt: on
"""Okabe and Ito's six that show on white and black, then one by one the colour farthest from those before it.

Far means in CIELAB, for normal sight, protanopia and deuteranopia alike (simulated after Machado et al. 2009), among
colours of lightness 38 to 80 that are no grey.
"""

SIDE_COLOURS = {"reference": "#0072b2", "query": "#e69f00"}

SCALE = [[0.0, "#ccd1d8"], [0.3, "#f0b068"], [0.65, "#d64f7a"], [1.0, "#6c2f96"]]
"""Colours of a number from low to high on a light page: low values are pale."""

SCALE_ON_DARK = [[0.0, "#49525a"], [0.3, "#8a53ab"], [0.65, "#e5667f"], [1.0, "#fbd08a"]]
"""The same on a dark page, where what is low is dark."""

INK, INK_ON_DARK = "#1d2b2b", "#e4eaea"
"""Colour of text inside a figure."""


def label_colours(labels: Iterable[object]) -> dict[str, str]:
    """Colour of each label, by its place in the alphabet; colours repeat beyond 36 labels, and Unknown is grey.

    Give it all labels of a run at once, so that each keeps its colour from chart to chart.
    """
    names = sorted({str(label) for label in labels} - {UNKNOWN, NO_LABEL}, key=lambda name: (name.lower(), name))
    colours = {name: LABEL_COLOURS[i % len(LABEL_COLOURS)] for i, name in enumerate(names)}
    return colours | {UNKNOWN: GREY, NO_LABEL: GREY}
