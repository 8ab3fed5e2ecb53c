"""Turning a sparse matrix by way of a file, and writing one some lines at a time."""

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.storage import sparse
from labeltransfer.storage.h5ad import new_h5ad, write_anndata
from labeltransfer.storage.sparse import OutOfCoreTranspose, SparseWriter, chunk_bounds


def some_counts(n_cells: int = 300, n_genes: int = 90, *, largest: int = 9) -> sp.csr_matrix:
    counts = sp.random(n_cells, n_genes, 0.2, format="csr", dtype=np.float32, random_state=0)
    counts.data = np.ceil(counts.data * largest)
    return counts


def transposed(tmp_path: Path, counts: sp.csr_matrix, n_block: int = 70) -> OutOfCoreTranspose:
    """A transpose that took the cells in blocks and gives genes."""
    transpose = OutOfCoreTranspose(tmp_path / "transpose", counts.shape[1])
    for first in range(0, counts.shape[0], n_block):
        transpose.add(counts[first : first + n_block].tocsc().T)
    return transpose


@pytest.mark.parametrize("largest", [9, 300, 70_000, 2**24])
def test_rows_come_back_as_columns_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    monkeypatch.setattr(sparse, "MAX_VALUES", 500)
    counts = some_counts(largest=largest)
    transpose = transposed(tmp_path, counts)
    slices = list(transpose.slices())
    assert len(slices) > 5 and all(lines.nnz <= 500 for _, lines in slices)
    assert [first for first, _ in slices] == list(np.cumsum([0, *(lines.shape[0] for _, lines in slices)])[:-1])
    back = sp.vstack([lines for _, lines in slices], format="csr")
    expected = counts.T.tocsr()
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(back, part), getattr(expected, part))
    assert transpose.n_values == counts.nnz and transpose.n_minor == counts.shape[0]


def test_values_that_are_no_counts_come_back_as_they_were(tmp_path: Path) -> None:
    counts = some_counts()
    counts.data[:4] = [0.5, -3, np.nan, np.inf]
    _, lines = next(transposed(tmp_path, counts).slices())
    np.testing.assert_array_equal(lines.T.toarray(), counts.toarray())


def test_pieces_come_back_one_by_one_with_their_place(tmp_path: Path) -> None:
    counts = some_counts()
    pieces = list(transposed(tmp_path, counts).pieces())
    assert [first for first, _ in pieces] == [0, 70, 140, 210, 280]
    np.testing.assert_array_equal(np.hstack([piece.toarray() for _, piece in pieces]), counts.T.toarray())


def test_counts_take_few_bytes(tmp_path: Path) -> None:
    counts = some_counts()
    transposed(tmp_path, counts)
    assert (tmp_path / "transpose").stat().st_size == 2 * counts.nnz


def test_a_line_longer_than_a_slice_comes_alone() -> None:
    assert list(chunk_bounds(np.array([0, 5, 5, 30, 31, 33]), 10)) == [(0, 2), (2, 3), (3, 5)]


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_anndata_reads_what_was_written_in_parts(tmp_path: Path, layout: str) -> None:
    counts = some_counts().asformat(layout)
    lines = counts if layout == "csr" else counts.T
    var = pd.DataFrame(index=[f"g{i}" for i in range(90)])
    with new_h5ad(tmp_path / "parts.h5ad") as (file, check):
        write_anndata(ad.AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(300)]), var=var), file)
        writer = SparseWriter(file, "layers/counts", layout=layout, shape=counts.shape, n_values=counts.nnz)
        for first in range(0, lines.shape[0], 40):
            writer.append(lines[first : first + 40])
            check()
        writer.finish()
    again = ad.read_h5ad(tmp_path / "parts.h5ad").layers["counts"]
    assert again.format == layout and again.dtype == np.float32
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(again, part), getattr(counts, part))


def test_a_matrix_with_missing_lines_is_not_finished(tmp_path: Path) -> None:
    counts = some_counts()
    with pytest.raises(ValueError, match="values were written"), new_h5ad(tmp_path / "parts.h5ad") as (file, _):
        writer = SparseWriter(file, "layers/counts", layout="csr", shape=counts.shape, n_values=counts.nnz)
        writer.append(counts[:100])
        writer.finish()


def test_a_disk_that_fills_up_between_two_slices_is_an_error(tmp_path: Path) -> None:
    code = (
        "import resource, sys, pathlib, numpy as np, scipy.sparse as sp\n"
        "from labeltransfer.storage.h5ad import new_h5ad\n"
        "from labeltransfer.storage.sparse import SparseWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "lines = sp.random(1000, 2000, 0.3, format='csr', dtype=np.float32, random_state=0)\n"
        "n_written = 0\n"
        "try:\n"
        "    with new_h5ad(pathlib.Path(sys.argv[1])) as (file, check):\n"
        "        writer = SparseWriter(file, 'X', layout='csr', shape=(20_000, 2000), n_values=20 * lines.nnz)\n"
        "        for n_written in range(20):\n"
        "            writer.append(lines)\n"
        "            check()\n"
        "        writer.finish()\n"
        "except OSError as error:\n    print('reported:', error.strerror, n_written)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cells.h5ad")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reported: File too large"), done.stdout
    assert int(done.stdout.split()[-1]) < 5, "it went on for long after the disk was full"
