"""Counts of one side: whether they are any, and their normalisation by gene length."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from labeltransfer.data.summary import value_kind
from labeltransfer.errors import InputError
from labeltransfer.params import Side

Report = Callable[[str], None]
"""Called with a sentence for each thing that the user should know."""


def check_counts(
    counts: sp.csr_matrix, side: Side, *, non_integer: str, will_round: bool, report: Report
) -> sp.csr_matrix:
    """Counts that are finite, not negative and, unless they will be rounded later, integers.

    Raises
    ------
    InputError
        They are not, and ``non_integer`` does not allow to round them, or they are logarithms.
    """
    counts.eliminate_zeros()
    data = counts.data
    place = "choose where the raw counts stand (X, raw or a layer)"
    if not np.isfinite(data).all():
        n_bad = int((~np.isfinite(data)).sum())
        raise InputError(f"The counts of the {side} hold NaN or infinite values ({n_bad:,} of them): {place}.")
    if (data < 0).any():
        n_bad = int((data < 0).sum())
        raise InputError(
            f"The counts of the {side} hold negative values ({n_bad:,} of them), so they were scaled: {place}."
        )
    rounded = np.rint(data)
    n_broken = int((rounded != data).sum())
    if not n_broken:
        return counts
    told = f"{n_broken / data.size:.0%} of the {side}'s non-zero counts are no integers (the largest is {data.max():g})"
    looks_logged = value_kind(data[:: max(1, data.size // 100_000)]) == "log"
    if looks_logged:  # whole numbers made of logarithms would mean nothing, whoever asks for them
        raise InputError(f"{told} and look log-transformed: {place}.")
    if non_integer == "refuse" and not will_round:
        raise InputError(f"{told}: {place}, or choose to round them where they are estimated counts (RSEM, Salmon).")
    if will_round:
        report(f"{told}; normalisation by gene length rounds them.")
        return counts
    report(f"{told}; they are rounded.")
    whole = sp.csr_matrix((rounded, counts.indices, counts.indptr), shape=counts.shape)
    whole.eliminate_zeros()
    return whole


def normalise_by_length(counts: sp.csr_matrix, lengths: np.ndarray) -> sp.csr_matrix:
    """Counts as if every gene had the median length, rounded to integers: ``rint(counts / length * median)``.

    Full-length protocols yield more reads from longer transcripts. Dividing by length, scaling by the median and
    rounding is what the scvi-tools tutorial does before it joins Smart-seq2 with 10x data.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    lengths
        Length of each gene, shape (n_genes,), all positive.

    Returns
    -------
    A new matrix of shape (n_cells, n_genes), without stored zeros.
    """
    factors = (np.median(lengths) / lengths).astype(np.float64)
    data = np.rint(counts.data * factors[counts.indices]).astype(np.float32)
    scaled = sp.csr_matrix((data, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    scaled.eliminate_zeros()
    return scaled
