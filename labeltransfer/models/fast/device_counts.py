"""The counts that a model trains on, held as tensors, and steps of cells taken out of them.

scvi-tools reads each step of cells out of the AnnData and makes new tensors of it. Here the non-zero counts are on the
device from the start, and a step is a few indexing operations on them.
"""

from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from labeltransfer.models.fast import compiled
from labeltransfer.models.fast.likelihood import Counts


@dataclass(frozen=True)
class Cells:
    """Some cells as a model takes them.

    ``x`` is log1p of the counts, shape (n_cells, n_genes), ``log_library`` the logarithm of each cell's counts, shape
    (n_cells, 1), ``batch`` one column a batch with a 1 in the cell's own, shape (n_cells, n_batches), and ``labels``
    the code of each cell's label, shape (n_cells,).
    """

    x: Tensor
    counts: Counts
    log_library: Tensor
    batch: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.x)


class DeviceCounts:
    """Counts of all cells on one device, of which only those above 0 are held.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes), CSR.
    batch, labels
        Code of each cell's batch and label, both of shape (n_cells,).
    n_batches
        Number of batches.
    device
        Where they are.
    """

    def __init__(
        self,
        counts: sp.csr_matrix,
        batch: np.ndarray,
        labels: np.ndarray,
        *,
        n_batches: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.n_cells, self.n_genes = counts.shape
        self.labels = torch.as_tensor(labels.astype(np.int64), device=device)
        # The start of each row is kept in main memory: the size of a step is then known without asking the device.
        self._starts = torch.from_numpy(counts.indptr[:-1].astype(np.int64))
        self._lengths = torch.from_numpy(np.diff(counts.indptr).astype(np.int64))
        self._columns = torch.as_tensor(counts.indices, device=device)
        self._values = torch.as_tensor(counts.data, dtype=torch.float32, device=device)
        # A cell without a count is not trained on, see ``data.prepare``; if one comes all the same, it is no NaN.
        library = np.maximum(np.asarray(counts.sum(axis=1, dtype=np.float64)), 1)
        self._log_library = torch.as_tensor(np.log(library), dtype=torch.float32, device=device)
        self._batch = torch.as_tensor(batch.astype(np.int64), device=device)
        self._one_hot = torch.eye(n_batches, device=device)

    @classmethod
    def of_model(cls, model: Any) -> "DeviceCounts":
        """Counts, batches and labels as a scvi-tools model has registered them, on the model's device."""
        adata: ad.AnnData = model.adata
        registered = adata.obs
        return cls(
            sp.csr_matrix(adata.layers["counts"]),
            registered["_scvi_batch"].to_numpy(),
            registered["_scvi_labels"].to_numpy(),
            n_batches=model.summary_stats.n_batch,
            device=model.device,
        )

    def take(self, rows: Tensor) -> Cells:
        """Cells by their row numbers, an int64 tensor of shape (n_rows,) in main memory."""
        device = self._values.device
        counts = self._copied(rows) if device.type == "cpu" else self._gathered(rows)
        x = torch.zeros(len(rows), self.n_genes, device=device)
        x.view(-1).index_copy_(0, counts.at, counts.values.log1p())
        on_device = rows.to(device, non_blocking=True)
        return Cells(
            x,
            counts,
            self._log_library.index_select(0, on_device),
            self._one_hot.index_select(0, self._batch.index_select(0, on_device)),
            self.labels.index_select(0, on_device),
        )

    def _gathered(self, rows: Tensor) -> Counts:
        """Counts of some cells on a GPU, by operations on all of them at once."""
        device = self._values.device
        lengths = self._lengths[rows]
        n_nonzero, ends = int(lengths.sum()), lengths.cumsum(0)
        # where each cell's counts begin, less where they will begin
        shifts = self._starts[rows] - (ends - lengths)
        lengths, shifts = lengths.to(device, non_blocking=True), shifts.to(device, non_blocking=True)

        places = torch.arange(len(rows), device=device)
        cell_of = torch.repeat_interleave(places, lengths, output_size=n_nonzero)
        sources = shifts.index_select(0, cell_of).add_(torch.arange(n_nonzero, device=device))
        columns = self._columns.index_select(0, sources).long()
        return Counts(cell_of, columns, self._values.index_select(0, sources), ends, self.n_genes)

    def _copied(self, rows: Tensor) -> Counts:
        """Counts of some cells on a processor, where a cell's are copied as the run of memory that they are."""
        lengths = self._lengths[rows]
        n_nonzero, ends = int(lengths.sum()), lengths.cumsum(0)
        cell_of, columns = torch.empty((2, n_nonzero), dtype=torch.int64)
        values = torch.empty(n_nonzero)
        source = self._starts[rows], self._columns, self._values
        compiled.copy_rows(*(tensor.numpy() for tensor in (*source, ends, cell_of, columns, values)))
        return Counts(cell_of, columns, values, ends, self.n_genes)
