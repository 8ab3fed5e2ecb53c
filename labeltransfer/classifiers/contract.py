"""What a classifier of the panel is, and what it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.classifiers.markers import marker_genes
from labeltransfer.storage.sparse import log_normalised

if TYPE_CHECKING:
    from labeltransfer.neighbours import Neighbours

Needs = Literal["latent", "counts"]

Progress = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


@dataclass(frozen=True)
class PanelData:
    """The cells of a run, as the panel gets them: the reference's and the query's in one table.

    Parameters
    ----------
    labels
        Training label of each cell, shape (n_cells,), text; ``Unknown`` for the query and for hidden labels.
    training_rows
        Rows of the cells to train on, shape (n_training,), ascending. Held-out cells are not among them.
    names
        Labels that scANVI knows, in the order of the columns of every result.
    latent
        Latent of each cell, shape (n_cells, n_latent), float32.
    near
        The nearest training cells of each cell in that latent.
    counts
        Returns the raw counts of the chosen genes, CSR of shape (n_cells, n_genes); they are read at the first call.
    n_counts
        Counts of each cell over all shared genes, shape (n_cells,).
    is_query
        Which cells are the query's, shape (n_cells,).
    """

    labels: np.ndarray
    training_rows: np.ndarray
    names: Sequence[str]
    latent: np.ndarray
    near: Neighbours
    counts: Callable[[], sp.csr_matrix]
    n_counts: np.ndarray
    is_query: np.ndarray

    @property
    def training_labels(self) -> np.ndarray:
        """Labels of the cells to train on, shape (n_training,), text."""
        return self.labels[self.training_rows].astype(str)

    @property
    def training_codes(self) -> np.ndarray:
        """Their places in ``names``, shape (n_training,)."""
        return pd.Index(list(self.names)).get_indexer(pd.Index(self.training_labels))

    @cached_property
    def markers(self) -> np.ndarray:
        """Columns of ``counts`` that are marker genes of a training label, see :func:`.markers.marker_genes`."""
        return marker_genes(self.expression(self.training_rows), self.training_codes, len(self.names))

    def expression(self, cells: np.ndarray, genes: np.ndarray | None = None) -> sp.csr_matrix:
        """Log-normalised expression of some cells over the chosen genes, or some of these: CSR, float32."""
        counts = self.counts()[cells]
        return log_normalised(counts if genes is None else counts[:, genes], self.n_counts[cells])


class Voter(ABC):
    """A classifier that is trained on the reference's labelled cells and gives each cell a probability of each label.

    A run makes one of each class of :data:`.registry.VOTERS`, fits it once, asks it once about all cells, and drops
    it. Its probabilities are calibrated on held-out reference cells, weighed by its accuracy there, and averaged with
    those of the others into the consensus; none of that is its own business. Neither are errors in the labels, cells
    without one, samples of large references, or genes that a mapped query lacks: the data come without them.

    What a voter has to keep to:

    - It learns from ``data.training_rows`` alone. The other labels are there to be predicted, or to judge it by.
    - It asks for what it ``needs`` and leaves the rest alone: counts are read from disk when they are first asked for.
    - Equal data and an equal seed give equal probabilities, bit for bit. All that it draws comes from the seed.
    - It takes memory for some thousand cells of dense expression at a time, never for all cells.
    - It imports its library inside its methods: the app imports the panel for its names, and must not wait for it.
    - Results that a user should know the reason of are ``LabelTransferError``; anything else counts as a fault.
    """

    name: ClassVar[str]
    """Identifier: the beginning of its columns in tables, such as ``knn`` in ``knn_label``; never changed."""
    title: ClassVar[str]
    """Name on pages, and what it looks at, such as "kNN on the latent"."""
    description: ClassVar[str]
    """One sentence for the help: how it decides."""
    needs: ClassVar[Needs]
    """What it looks at. Voters that look at the same latent fail together, so their agreement is weak evidence."""
    vote: ClassVar[float] = 1.0
    """Its vote in the consensus, before its accuracy counts. 0 where its label is there to be looked at alone."""
    effort: ClassVar[float] = 1.0
    """About how long it takes, next to the others; for the progress bar alone."""

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    @abstractmethod
    def fit(self, data: PanelData) -> None:
        """Learn the labels of ``data.training_rows``."""

    @abstractmethod
    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Say how probable each label is for each cell, training cells included.

        Parameters
        ----------
        data
            The same as for ``fit``.
        progress
            Called from time to time, where it takes seconds.

        Returns
        -------
        Frame of shape (n_cells, n_labels), float32, with ``data.names`` as columns and rows that sum to 1; a label
        without a training cell gets 0.
        """


def in_columns(classes: Any, soft: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Probabilities with the labels in their common order; a label that had no training cell gets 0.

    Parameters
    ----------
    classes
        Labels that the classifier knows, in its own order, shape (n_classes,).
    soft
        Its probabilities, shape (n_cells, n_classes).
    names
        Columns of the result.
    """
    found = pd.DataFrame(soft.astype(np.float32), columns=list(map(str, classes)))
    return found.reindex(columns=list(names), fill_value=np.float32(0))
