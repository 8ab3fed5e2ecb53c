"""One registry of forms: the reader is found by name or content, and an unknown form is refused in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.errors import InputError
from labeltransfer.formats import READERS, SUFFIXES, OpenInput, Reader, open_input, registry
from labeltransfer.formats.h5ad.reader import H5adInput

COUNTS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    names = pd.DataFrame(index=["a", "b", "c"]), pd.DataFrame(index=["G1", "G2", "G3", "G4"])
    path = tmp_path / "cells.h5ad"
    ad.AnnData(sp.csr_matrix(COUNTS), *names).write_h5ad(path)
    return path


def test_an_open_input_gives_tables_and_counts(path: Path) -> None:
    with open_input(path) as opened:
        (place,) = opened.places()
        assert (place, opened.shape(place)) == ("X", (3, 4))
        assert [*opened.obs().index] == ["a", "b", "c"] and len(opened.var(place)) == 4
        assert (opened.rows(place).toarray() == COUNTS).all()
        assert (opened.rows(place, np.array([2, 0])).toarray() == COUNTS[[2, 0]]).all()
        assert opened.sample(place, np.array([1]))[1] == 1
        assert set(opened.values(place)) <= set(COUNTS.ravel())


def test_the_content_decides_where_the_name_says_nothing(path: Path) -> None:
    with open_input(path.rename(path.with_suffix(".download"))) as opened:
        assert opened.shape("X") == (3, 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("table.csv", r"table\.csv: this is no h5ad \(HDF5\) file.*Get it again"),
        ("folder", "folder or device.*Choose a file"),
        ("store.zarr", "zarr store cannot be read yet: save it as h5ad"),
        ("nothing.h5ad", "there is no such file. Check the path"),
    ],
)
def test_an_unknown_form_is_refused_with_the_way_out(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "table.csv").write_text("cell,gene\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / ".zattrs").write_text("{}")
    with pytest.raises(InputError, match=said), open_input(tmp_path / name):
        pass


class Renamed(Reader):
    """A form of its own: h5ad under another name."""

    title, suffixes = "renamed", (".renamed",)

    def recognises(self, path: Path) -> bool:
        return path.suffix in self.suffixes

    @contextmanager
    def open(self, path: Path) -> Iterator[OpenInput]:
        with READERS[0].open(path) as opened:
            assert isinstance(opened, H5adInput)
            yield opened


def test_a_form_is_added_with_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "READERS", (Renamed(), *READERS))
    with open_input(path.rename(path.with_suffix(".renamed"))) as opened:
        assert opened.places() == ["X"]


def test_endings_of_files_are_those_of_the_readers() -> None:
    assert SUFFIXES == (".h5ad",)
