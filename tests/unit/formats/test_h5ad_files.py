"""Reading h5ad files: what is read is what was written, in any layout; hostile and broken files are refused."""

import zlib
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from h5py import h5d, h5p, h5s, h5t

from labeltransfer.data.intake.columns import filter_rows
from labeltransfer.errors import InputError
from labeltransfer.formats.h5ad import frames, matrices
from labeltransfer.formats.h5ad.h5ad_file import (
    count_places,
    counts_shape,
    open_h5ad,
    read_obs,
    read_rows,
    read_sample,
    read_var,
)
from labeltransfer.storage.h5ad import new_h5ad, write_anndata

N_CELLS, N_GENES = 60, 25


def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.7, (N_CELLS, N_GENES)).astype(np.float32)


def obs() -> pd.DataFrame:
    labels = pd.Categorical(["B cell", "T cell", None] * (N_CELLS // 3), categories=["T cell", "B cell", "unused"])
    depth = counts().sum(1).astype(float)
    return pd.DataFrame({"cell_type": labels, "depth": depth}, index=[f"cell{i}" for i in range(N_CELLS)])


def var() -> pd.DataFrame:
    return pd.DataFrame({"length": np.arange(N_GENES)}, index=[f"Gene{i}" for i in range(N_GENES)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small file in the current layout, counts by row."""
    path = tmp_path / "cells.h5ad"
    ad.AnnData(sp.csr_matrix(counts()), obs=obs(), var=var()).write_h5ad(path)
    return path


def write_legacy(path: Path) -> None:
    """Write the layout of anndata 0.6, with raw counts in X and in raw."""
    table = obs()
    codes = table["cell_type"].cat.codes.to_numpy()
    cells = np.array(
        list(zip([n.encode() for n in table.index], codes, table["depth"], strict=True)),
        dtype=[("index", "S10"), ("cell_type", "i1"), ("depth", "f8")],
    )
    genes = np.array(list(zip([n.encode() for n in var().index], range(N_GENES), strict=True)), "S10,i8")
    genes.dtype.names = ("index", "length")
    with h5py.File(path, "w") as file:
        file["obs"], file["var"], file["raw.var"] = cells, genes, genes
        file["uns/cell_type_categories"] = [b"T cell", b"B cell", b"unused"]
        for name in ("X", "raw.X"):
            group = file.create_group(name)
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", (N_CELLS, N_GENES)
            matrix = sp.csr_matrix(counts())
            group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr


def test_tables_are_read_as_written(path: Path) -> None:
    with open_h5ad(path) as file:
        pd.testing.assert_frame_equal(read_obs(file), obs(), check_index_type=False)
        pd.testing.assert_frame_equal(read_var(file), var(), check_index_type=False)
        assert count_places(file) == ["X"]
        assert counts_shape(file, "X") == (N_CELLS, N_GENES)


def test_the_layout_of_anndata_0_6_gives_the_same_tables_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "old.h5ad"
    write_legacy(path)
    with open_h5ad(path) as file:
        pd.testing.assert_frame_equal(read_obs(file), obs(), check_index_type=False)
        pd.testing.assert_frame_equal(read_var(file, "raw"), var(), check_index_type=False)
        assert count_places(file) == ["X", "raw"]
        np.testing.assert_array_equal(read_rows(file, "raw").toarray(), counts())
        np.testing.assert_array_equal(read_rows(file, "X", np.array([40, 2])).toarray(), counts()[[40, 2]])


def test_codes_whose_names_are_no_list_are_refused_not_taken_for_numbers(tmp_path: Path) -> None:
    path = tmp_path / "old.h5ad"
    write_legacy(path)
    with h5py.File(path, "r+") as file:
        del file["uns/cell_type_categories"]
        file["uns/cell_type_categories/T cell"] = 1
    with open_h5ad(path) as file, pytest.raises(InputError, match="cannot be read"):
        read_obs(file)


def test_the_layout_of_anndata_0_7_with_category_references_is_read(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        group = file["obs"]
        del group["cell_type"]
        group.attrs["encoding-version"] = "0.1.0"
        group["__categories/cell_type"] = np.array(["T cell", "B cell", "unused"], dtype=h5py.string_dtype())
        codes = group.create_dataset("cell_type", data=obs()["cell_type"].cat.codes.to_numpy())
        codes.attrs["categories"] = group["__categories/cell_type"].ref
    with open_h5ad(path) as file:
        assert read_obs(file)["cell_type"].astype(object).tolist() == obs()["cell_type"].astype(object).tolist()


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, np.asarray])
@pytest.mark.parametrize("limits", [(4_000_000, 20_000), (40, 0), (1, 3)])
def test_wanted_rows_come_in_the_asked_order_from_any_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Callable, limits: tuple[int, int]
) -> None:
    monkeypatch.setattr(matrices, "MAX_VALUES", limits[0])
    monkeypatch.setattr(matrices, "MAX_GAP", limits[1])
    path = tmp_path / "cells.h5ad"
    ad.AnnData(layout(counts()), obs=obs(), var=var(), layers={"other": layout(counts() * 2)}).write_h5ad(path)
    rows = np.array([7, 3, 3, 59, 0, 8, 9, 30])
    with open_h5ad(path) as file:
        assert count_places(file) == ["X", "layers/other"]
        np.testing.assert_array_equal(read_rows(file, "X", rows).toarray(), counts()[rows])
        np.testing.assert_array_equal(read_rows(file, "layers/other").toarray(), counts() * 2)
        nothing = read_rows(file, "X", np.array([], dtype=int))
    assert nothing.shape == (0, N_GENES)
    assert nothing.dtype == np.float32


def test_only_the_wanted_rows_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "MAX_GAP", 0)
    reads = []

    def spy(stored: h5py.Dataset, start: int, stop: int) -> None:
        reads.append((stored.name, stop - start))

    with open_h5ad(path) as file:
        matrices.matrix_rows(file["X"], np.array([4, 5, 6, 50]), ahead=spy)
    lengths = (counts() > 0).sum(1)  # neighbours come with one read
    assert reads == [(f"/X/{name}", n) for n in (lengths[4:7].sum(), lengths[50]) for name in ("indices", "data")]


def test_a_sample_of_large_counts_stored_by_column_reads_some_genes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = tmp_path / "cells.h5ad", np.array([3, 4, 50])
    ad.AnnData(sp.csc_matrix(counts()), obs=obs(), var=var()).write_h5ad(path)
    with open_h5ad(path) as file:
        whole, share = read_sample(file, "X", rows)
        assert share == 1
        np.testing.assert_array_equal(whole.toarray(), counts()[rows])
        n_values = int((counts() > 0).sum())
        monkeypatch.setattr(matrices, "MAX_SAMPLED", n_values // 2)
        part, share = read_sample(file, "X", rows)
    read = np.flatnonzero((part != 0).toarray().any(axis=0))
    np.testing.assert_array_equal(part.toarray()[:, read], counts()[rows][:, read])
    assert 0.2 < share <= 0.5
    assert 0 < len(read) < N_GENES


def test_a_place_without_counts_is_an_error_that_names_the_others(path: Path) -> None:
    with open_h5ad(path) as file, pytest.raises(InputError, match=r"layers/counts.*Choose one of: X"):
        read_rows(file, "layers/counts")


# Hostile files


def external_link(file: h5py.File) -> None:
    file["uns/link"] = h5py.ExternalLink("/etc/secret.h5", "/")


def external_matrix(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/secret.h5", "/X")


def soft_link(file: h5py.File) -> None:
    file["obs/other"] = h5py.SoftLink("/obs/depth")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("obs/passwords", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((100,), "f4")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "data", (100,))
    file.create_virtual_dataset("uns/virtual", layout)


def circle(file: h5py.File) -> None:
    file["uns/again"] = file["/"]


def twins(file: h5py.File) -> None:
    group = file.create_group("uns/level0")
    for level in range(1, 30):  # each level twice: a billion paths
        group["a"] = deeper = file.create_group(f"uns/level{level}")
        group["b"] = deeper
        group = deeper


def nothing_stored(file: h5py.File) -> None:
    file.create_dataset("obs/bomb", (10**12,), "f8", chunks=(1024,))


def overflow(file: h5py.File) -> None:
    file.create_dataset("obs/bomb", (2**40, 2**40), "f8", chunks=(64, 64))


def too_well_compressed(file: h5py.File) -> None:
    for i in range(3):
        file.create_dataset(f"uns/zeros{i}", data=np.zeros(100_000_000, "u1"), compression="gzip", chunks=(1_000_000,))


def texts_without_room(file: h5py.File) -> None:
    for i in range(2):  # 100 MB each as declared, less than tables may have
        file.create_dataset(f"uns/texts{i}", (6_500_000,), h5py.string_dtype(), compression="gzip", chunks=(500_000,))
        empty = zlib.compress(bytes(16 * 500_000))
        for start in range(0, 6_500_000, 500_000):
            file[f"uns/texts{i}"].id.write_direct_chunk((start,), empty)


def packed_twice(file: h5py.File) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((2**24,))
    plan.set_deflate(9)
    plan.set_deflate(9)  # a few hundred bytes now hold a million times as many
    zeros = h5d.create(file.id, b"uns/bomb", h5t.STD_U8LE, h5s.create_simple((2**24,)), plan)
    zeros.write(h5s.ALL, h5s.ALL, np.zeros(2**24, "u1"))


def unknown_filter(file: h5py.File) -> None:
    file.create_dataset("obs/zstd", (60,), "f4", chunks=(60,), compression=32015, allow_unknown_filter=True)


def name_in_another_encoding(file: h5py.File) -> None:
    group = file["obs"]
    group.id.links.move(b"depth", group.id, b"d\xe9pth")


def endless_name(file: h5py.File) -> None:
    file["obs/" + "x" * 60_000] = np.zeros(N_CELLS)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (packed_twice, "packed more than once"),
        (unknown_filter, "HDF5 filter 32015, which this app lacks"),
        (name_in_another_encoding, "no UTF-8"),
        (endless_name, "60,000 bytes"),
        (external_link, "external link"),
        (external_matrix, "external link"),
        (soft_link, "soft link"),
        (external_storage, "lie in another file"),
        (virtual, "lie in another file"),
        (circle, "circle"),
        (twins, "circle"),
        (nothing_stored, "declares 8,000,000,000,000 bytes"),
        (overflow, "declares"),
        (too_well_compressed, "it declares"),
        (texts_without_room, r"declares 6,500,\d+ texts"),
    ],
)
def test_a_hostile_file_is_refused_before_anything_is_read(
    path: Path, spoil: Callable[[h5py.File], None], said: str
) -> None:
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=said) as caught, open_h5ad(path):
        pass
    assert "cells.h5ad" in str(caught.value)
    assert str(path.parent) not in str(caught.value)


# Broken files


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95, 0.999])
def test_a_file_that_is_cut_off_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut off|damaged"), open_h5ad(path):
        pass


def test_what_is_no_h5ad_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "table.h5ad"
    text.write_text("gene,cell\n" * 100)
    empty = tmp_path / "empty.h5ad"
    empty.touch()
    other = tmp_path / "other.h5ad"
    with h5py.File(other, "w") as file:
        file["data"] = [1, 2]
    cases = [
        (text, "no h5ad"),
        (empty, "no h5ad"),
        (other, "no obs and no var"),
        (tmp_path, "folder"),
        (tmp_path / "absent.h5ad", "no such file"),
    ]
    for path, said in cases:
        with pytest.raises(InputError, match=said), open_h5ad(path):
            pass


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_a_file_without_cells_or_genes_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "none.h5ad"
    ad.AnnData(sp.csr_matrix(shape, dtype=np.float32)).write_h5ad(path)
    with pytest.raises(InputError, match=f"{shape[0]} cells and {shape[1]} genes"), open_h5ad(path):
        pass


def test_a_file_without_any_counts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tables.h5ad"
    ad.AnnData(obs=obs(), var=var()).write_h5ad(path)
    with pytest.raises(InputError, match="no count matrix"), open_h5ad(path):
        pass


@pytest.mark.parametrize("name", ["indices", "indptr"])
def test_a_sparse_matrix_that_points_out_of_itself_is_refused(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file[f"X/{name}"][3] = 10_000
    with open_h5ad(path) as file, pytest.raises(InputError, match="contradicts"):
        read_rows(file, "X")


@pytest.mark.parametrize(
    ("part", "kind"), [("data", "c8"), ("data", "S8"), ("indices", "f8"), ("indptr", "f8"), ("indptr", "(2,)i8")]
)
def test_a_matrix_of_what_are_no_numbers_is_none(path: Path, part: str, kind: str) -> None:
    with h5py.File(path, "r+") as file:
        stored = np.zeros(len(file[f"X/{part}"]), kind) if "(" in kind else file[f"X/{part}"][:].astype(kind)
        del file[f"X/{part}"]
        file[f"X/{part}"] = stored
    with pytest.raises(InputError, match="no count matrix"), open_h5ad(path):
        pass


def with_column(path: Path, values: object, *, again: bool = False) -> None:
    """Add a column to obs, or name it twice."""
    with h5py.File(path, "r+") as file:
        column = file["obs"].create_dataset("odd", data=values)
        column.attrs["encoding-type"], column.attrs["encoding-version"] = "array", "0.2.0"
        names = [*file["obs"].attrs["column-order"], "odd", *(["odd"] if again else [])]
        file["obs"].attrs["column-order"] = np.array(names, dtype=h5py.string_dtype())


@pytest.mark.parametrize("shape", [h5py.Empty("f"), "12, 3", 7, [12.0, 3.0], [1, 2, 3], [-12, 3]])
def test_a_matrix_whose_shape_is_none_is_refused(path: Path, shape: object) -> None:
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = shape
    with pytest.raises(InputError, match="has no shape"), open_h5ad(path) as file:
        counts_shape(file, "X")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(N_CELLS, "V7"),
        np.array([np.arange(2)] * N_CELLS + [None], h5py.vlen_dtype("i4"))[:-1],
        np.zeros(N_CELLS, "i4,f8"),
    ],
)
def test_a_column_of_what_is_neither_text_nor_numbers_is_refused(path: Path, values: np.ndarray) -> None:
    with_column(path, values)
    with open_h5ad(path) as file, pytest.raises(InputError, match=r"cells\.h5ad: .*obs"):
        read_obs(file)


def test_a_column_of_raw_bytes_that_pandas_cannot_tell_apart_is_refused() -> None:
    column = pd.Series([np.zeros(1, "i4,f8")[0]] * 3, name="odd", dtype=object)
    with pytest.raises(InputError, match="'odd' of obs has values that are no text or numbers"):
        frames.usable(column, "obs", "cells.h5ad")


@pytest.mark.parametrize("place", ["_index", "cell_type/categories"])
def test_text_with_a_zero_byte_is_refused(path: Path, place: str) -> None:
    with h5py.File(path, "r+") as file:
        attributes = dict(file[f"obs/{place}"].attrs) | {"encoding-type": "array"}
        names = file[f"obs/{place}"].asstr()[:].astype("S12")
        names[0] = b"T\0cell"
        del file[f"obs/{place}"]
        file[f"obs/{place}"] = names
        file[f"obs/{place}"].attrs.update(attributes)
    with open_h5ad(path) as file, pytest.raises(InputError, match="with a zero byte"):
        read_obs(file)


def test_a_column_that_is_there_twice_is_refused(path: Path) -> None:
    with_column(path, np.arange(N_CELLS), again=True)
    with open_h5ad(path) as file, pytest.raises(InputError, match="more than one column odd"):
        read_obs(file)


def test_numbers_in_the_other_order_of_bytes_are_read(path: Path) -> None:
    with_column(path, np.arange(N_CELLS).astype(">i4"))
    with open_h5ad(path) as file:
        table = read_obs(file)
    assert filter_rows(table, {"odd": ["7"]}).nonzero()[0].tolist() == [7]


def test_text_of_fixed_length_is_read_as_text(path: Path) -> None:
    with_column(path, np.array(["Zellhülle".encode()] * N_CELLS))
    with h5py.File(path, "r+") as file:
        names = file["obs/cell_type/categories"].asstr()[:]
        attributes = dict(file["obs/cell_type/categories"].attrs) | {"encoding-type": "array"}
        del file["obs/cell_type/categories"]
        file["obs/cell_type/categories"] = names.astype("S")
        file["obs/cell_type/categories"].attrs.update(attributes)
    with open_h5ad(path) as file:
        table = read_obs(file)
    assert set(table["odd"]) == {"Zellhülle"}
    assert table["cell_type"].astype(object).tolist() == obs()["cell_type"].astype(object).tolist()


def test_real_files_are_read_whole(shared_data: Path) -> None:
    path = shared_data / "pbmc_3prime_to_5prime_reference.h5ad"
    plain = ad.read_h5ad(path)
    with open_h5ad(path) as file:
        pd.testing.assert_frame_equal(read_obs(file), plain.obs, check_index_type=False)
        rows = np.arange(0, 770, 7)
        assert (read_rows(file, "X", rows) != plain.X[rows]).nnz == 0


def test_a_file_that_this_app_wrote_can_be_an_input(tmp_path: Path) -> None:
    """The library puts an array without a shape where there is no ``raw``."""
    with new_h5ad(tmp_path / "cells.h5ad") as (target, _):
        write_anndata(ad.AnnData(sp.csr_matrix(counts()), obs=obs(), var=var()), target)
    with h5py.File(tmp_path / "cells.h5ad") as file:
        assert file["raw"].shape is None
    with open_h5ad(tmp_path / "cells.h5ad") as file:
        assert count_places(file) == ["X"]
        np.testing.assert_array_equal(read_rows(file, "X").toarray(), counts())
