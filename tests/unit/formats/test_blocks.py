"""Counts read in blocks: the same as read at once, however they are stored."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.errors import InputError
from labeltransfer.formats import blocks, open_input
from labeltransfer.formats.blocks import count_blocks
from labeltransfer.formats.h5ad import matrices
from labeltransfer.storage import sparse

ROWS = np.flatnonzero(np.random.default_rng(3).random(400) < 0.6)
LAYOUTS = {"by row": sp.csr_matrix, "by column": sp.csc_matrix, "dense": sp.csr_matrix.toarray}


def counts() -> sp.csr_matrix:
    matrix = sp.random(400, 70, 0.3, format="csr", dtype=np.float32, random_state=0)
    matrix.data = np.ceil(matrix.data * 5)
    return matrix


def a_file(folder: Path, layout: str) -> Path:
    obs, var = (pd.DataFrame(index=[f"{kind}{i}" for i in range(n)]) for kind, n in (("c", 400), ("g", 70)))
    ad.AnnData(LAYOUTS[layout](counts()), obs=obs, var=var).write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n_values", "n_cells"), [(10**6, 65_536), (600, 65_536), (10**6, 9), (1, 65_536)])
def test_blocks_are_the_wanted_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, n_values: int, n_cells: int
) -> None:
    path = a_file(tmp_path, layout)
    monkeypatch.setattr(sparse, "MAX_VALUES", n_values)
    monkeypatch.setattr(matrices, "MAX_VALUES", 700)
    monkeypatch.setattr(blocks, "MAX_CELLS", n_cells)
    with open_input(path) as opened:
        found = list(count_blocks(opened, "X", ROWS, scratch=tmp_path))
    assert all(block.shape[0] <= n_cells and (block.nnz <= n_values or block.shape[0] == 1) for block in found)
    assert len(found) == 1 if (n_values, n_cells) == (10**6, 65_536) else len(found) > 5
    together = sp.vstack(found, format="csr")
    np.testing.assert_array_equal(together.toarray(), counts()[ROWS].toarray())
    assert together.dtype == np.float32 and all(block.has_sorted_indices for block in found)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.h5ad"], "the file in between was left behind"


@pytest.mark.parametrize("layout", ["by row", "by column"])
def test_counts_that_contradict_themselves_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    path = a_file(tmp_path, layout)
    with h5py.File(path, "a") as file:
        file["X/indices"][-1] = 100_000
    monkeypatch.setattr(sparse, "MAX_VALUES", 600)
    with open_input(path) as opened, pytest.raises(InputError, match="contradicts its own shape"):
        list(count_blocks(opened, "X", np.arange(400), scratch=tmp_path))
