"""Compile the training loops ahead: ``python -m labeltransfer.models.fast.compile_ahead``, part of the installation.

It spares the first training some seconds. And in the process that compiles them they call one another where a kept loop
has the other within it, which adds in another order: that training would differ in its last digits from all later ones.
"""

import numpy as np
import scipy.sparse as sp
import torch

from labeltransfer.models.fast import compiled
from labeltransfer.models.fast.device_counts import DeviceCounts


def compile_loops() -> None:
    """Call each loop once, with arrays of the kinds that training has."""
    n_cells, n_genes = 2, 3
    codes = np.zeros(n_cells)
    kept = DeviceCounts(sp.csr_matrix(np.ones((n_cells, n_genes))), codes, codes, n_batches=1)
    cells = kept.take(torch.arange(n_cells))
    logits = torch.zeros(2, n_cells, n_genes)
    compiled.zero_inflated(cells.counts, logits[0], cells.log_library, torch.zeros(n_genes), logits[1])


if __name__ == "__main__":
    compile_loops()
