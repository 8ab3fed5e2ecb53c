"""Counts of one side: whether they are counts, and their normalisation by gene length."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from labeltransfer.data.intake.summary import value_kind
from labeltransfer.errors import InputError
from labeltransfer.params import Side

Report = Callable[[str], None]
"""Called with a sentence for each thing that the user should know."""


@dataclass
class CountCheck:
    """Whether the counts of one side are counts at all, judging by all of its blocks.

    Parameters
    ----------
    side
        Named in sentences.
    non_integer
        "round" allows to round counts that are no integers, "refuse" does not.
    will_round
        Whether normalisation by gene length rounds them later.
    """

    side: Side
    non_integer: str
    will_round: bool
    n_values: int = 0
    n_not_finite: int = 0
    n_negative: int = 0
    n_broken: int = 0
    largest: float = 0.0
    _sample: list[np.ndarray] = field(default_factory=list)

    def take(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        """Look at one block of cells; gives its counts without stored zeros, rounded where that was chosen."""
        counts.eliminate_zeros()
        data = counts.data
        if not data.size:
            return counts
        rounded = np.rint(data)
        self.n_values += data.size
        self.n_not_finite += int((~np.isfinite(data)).sum())
        self.n_negative += int((data < 0).sum())
        self.n_broken += (n_broken := int((rounded != data).sum()))
        self.largest = max(self.largest, float(data.max()))
        self._sample.append(data[:: max(1, data.size // 100_000)].copy())
        if n_broken and self.non_integer == "round" and not self.will_round:
            counts = sp.csr_matrix((rounded, counts.indices, counts.indptr), shape=counts.shape)
            counts.eliminate_zeros()
        return counts

    def judge(self, report: Report) -> None:
        """Say what was noticed in all blocks.

        Raises
        ------
        InputError
            The counts are not finite, negative, logarithms, or no integers where ``non_integer`` refuses those.
        """
        place = "choose where the raw counts are (X, raw or a layer)"
        if self.n_not_finite:
            raise InputError(
                f"The counts of the {self.side} hold NaN or infinite values ({self.n_not_finite:,} of them): {place}."
            )
        if self.n_negative:
            raise InputError(
                f"The counts of the {self.side} hold negative values ({self.n_negative:,} of them), so they were "
                f"scaled: {place}."
            )
        if not self.n_broken:
            return
        seen = (
            f"{self.n_broken / self.n_values:.0%} of the {self.side}'s non-zero counts are no integers (the largest is "
            f"{self.largest:g})"
        )
        if value_kind(np.concatenate(self._sample)) == "log":
            # whole numbers made of logarithms would mean nothing, even if asked for
            raise InputError(f"{seen} and look log-transformed: {place}.")
        if self.non_integer == "refuse" and not self.will_round:
            raise InputError(
                f"{seen}: {place}, or choose to round them where they are estimated counts (RSEM, Salmon)."
            )
        report(f"{seen}; {'normalisation by gene length rounds them' if self.will_round else 'they are rounded'}.")


def normalise_by_length(counts: sp.csr_matrix, lengths: np.ndarray, *, median: float | None = None) -> sp.csr_matrix:
    """Counts as if every gene had the median length, rounded to integers: ``rint(counts / length * median)``.

    Full-length protocols yield more reads from longer transcripts. Dividing by length, scaling by the median and
    rounding is what the scvi-tools tutorial does before it joins Smart-seq2 with 10x data.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    lengths
        Length of each gene, shape (n_genes,), all positive.
    median
        Length that every gene is brought to; the median of ``lengths`` unless given.

    Returns
    -------
    A new matrix of shape (n_cells, n_genes), without stored zeros.
    """
    factors = ((np.median(lengths) if median is None else median) / lengths).astype(np.float64)
    data = np.rint(counts.data * factors[counts.indices]).astype(np.float32)
    scaled = sp.csr_matrix((data, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    scaled.eliminate_zeros()
    return scaled
