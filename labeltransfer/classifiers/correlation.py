"""Rank correlation of each cell with the labelled cells of each label, over marker genes.

The method is that of SingleR (Aran et al., Reference-based analysis of lung single-cell sequencing reveals a
transitional profibrotic macrophage, Nature Immunology 2019), without its fine-tuning: on eleven real pairs its Python
package took ten to a hundred times as long, and labelled fewer cells right.
"""

import numpy as np
import pandas as pd

from labeltransfer.classifiers.contract import PanelData, Progress, Voter
from labeltransfer.classifiers.linear import blocks
from labeltransfer.classifiers.markers import standard_ranks

MOST_OF_A_LABEL = 100
"""Labelled cells that each cell is compared with, of each label."""
QUANTILE = 0.8
"""Of the correlations with a label's cells: a label may be broader than the cell, and hold cells of other kinds too."""
SHARPNESS = 25.0
"""Turns differences of correlations, some hundredths between close cell types, into probabilities. The calibration
settles the rest where reference cells are held out."""
BLOCK = 4_000
"""Cells that are compared at a time."""


class Correlation(Voter):
    """Spearman correlation with labelled cells."""

    name = "correlation"
    title = "Correlation with labelled cells"
    description = "Compares the order of the marker genes in each cell with that in labelled cells, label by label."
    needs = "counts"
    effort = 2.0

    def fit(self, data: PanelData) -> None:
        """Choose the labelled cells to compare with."""
        rng = np.random.default_rng(self.seed)
        codes = data.training_codes
        self._ranks: dict[int, np.ndarray] = {}
        for code in np.unique(codes):
            own = data.training_rows[codes == code]
            own = np.sort(rng.choice(own, MOST_OF_A_LABEL, replace=False)) if len(own) > MOST_OF_A_LABEL else own
            self._ranks[int(code)] = standard_ranks(data.expression(own, data.markers))

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Softmax of the correlations."""
        n_cells = len(data.labels)
        soft = np.zeros((n_cells, len(data.names)), np.float32)
        known = np.array(list(self._ranks))
        for cells in blocks(n_cells, BLOCK):
            own = standard_ranks(data.expression(cells, data.markers))
            scores = np.column_stack([_quantile(own @ ranks.T) for ranks in self._ranks.values()])
            scores = np.exp(SHARPNESS * (scores - scores.max(axis=1, keepdims=True)))
            soft[np.ix_(cells, known)] = scores / scores.sum(axis=1, keepdims=True)
            progress((cells[-1] + 1) / n_cells)
        return pd.DataFrame(soft, columns=list(data.names))


def _quantile(values: np.ndarray) -> np.ndarray:
    """The ``QUANTILE`` of each row, without interpolation, shape (n_cells,)."""
    place = round(QUANTILE * (values.shape[1] - 1))
    return np.partition(values, place, axis=1)[:, place]
