"""Small files that would take much memory are refused before they do, whichever part is read."""

import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.errors import InputError
from labeltransfer.formats.h5ad import chunks, safety
from labeltransfer.formats.h5ad.h5ad_file import open_h5ad, read_obs
from labeltransfer.processes import module_environment

N_CELLS, N_GENES = 60, 40
UNPACKED = 600 * 2**20
"""Bytes that a crafted chunk unpacks to."""
SPARE = 200 * 2**20
"""Bytes that looking at a crafted file may take more than looking at a sound one."""

LOOK = """
import json, resource, sys
from labeltransfer.data.intake.summary import read_summary
from labeltransfer.errors import InputError
for path in sys.argv[1:]:
    try:
        read_summary(path)
        said = "read"
    except InputError as error:
        said = str(error)
    print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]), flush=True)
"""


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Deflated zeros."""
    packer, zeros = zlib.compressobj(9), bytes(2**24)
    packed = [packer.compress(zeros) for _ in range(UNPACKED // len(zeros))]
    return b"".join([*packed, packer.flush()])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "cells.h5ad"
    counts = sp.random(N_CELLS, N_GENES, density=0.3, format="csr", dtype=np.float32, random_state=0)
    counts.data = np.ceil(counts.data * 5)
    obs = pd.DataFrame(
        {"n": np.arange(N_CELLS), "label": pd.Categorical(["B", "T"] * (N_CELLS // 2)), "note": "x"},
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    var = pd.DataFrame(index=[f"Gene{i}" for i in range(N_GENES)])
    ad.AnnData(counts, obs=obs, var=var, layers={"dense": counts.toarray()}).write_h5ad(path)
    return path


def pack(file: h5py.File, place: str, packed: bytes, shape: tuple[int, ...] | None = None) -> None:
    """Put one deflated chunk of 2 MB, as it declares, in the place of a dataset."""
    held = file[place]
    kind, attributes, shape = held.dtype, dict(held.attrs), shape or held.shape
    del file[place]
    chunk = (2**21 // kind.itemsize // shape[1], shape[1]) if len(shape) == 2 else (2**21 // kind.itemsize,)
    most = tuple(None for _ in shape)
    made = file.create_dataset(place, shape, kind, chunks=chunk, maxshape=most, compression="gzip")
    made.attrs.update(attributes)
    made.id.write_direct_chunk((0,) * len(shape), packed)


def declare(file: h5py.File, place: str, packed: bytes) -> None:
    """Let a dataset be one chunk of 2 GB, of which little is used."""
    held = file[place]
    values, attributes = held[:], dict(held.attrs)
    del file[place]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((2**31 // values.dtype.itemsize,))
    plan.set_deflate(1)
    space = h5py.h5s.create_simple(values.shape, (h5py.h5s.UNLIMITED,))
    h5py.h5d.create(file.id, place.encode(), h5py.h5t.py_create(values.dtype, logical=True), space, plan)
    file[place].id.write_direct_chunk((0,), packed)
    file[place].attrs.update(attributes)


def repeat(path: Path, place: str, n: int, **options: object) -> None:
    """Put texts in the place of a dataset that all point at one text of 100 kB."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[place].attrs)
        del file[place]
        made = file.create_dataset(place, (n,), h5py.string_dtype(), **options)
        made.attrs.update(attributes)
        made[0] = "x" * 100_000
        if made.chunks:
            packed = made.id.read_direct_chunk((0,))[1]
            raw = zlib.decompress(packed)
            many = raw[:16] * (len(raw) // 16)
            made.id.write_direct_chunk((0,), zlib.compress(many))
            return
        at = made.id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 16 * n] = content[at : at + 16] * n
    path.write_bytes(content)


def edited(change: Callable[[h5py.File, bytes], None]) -> Callable[[Path, bytes], None]:
    def spoil(path: Path, packed: bytes) -> None:
        with h5py.File(path, "r+") as file:
            change(file, packed)

    return spoil


def former(file: h5py.File, packed: bytes) -> None:
    """The layout before anndata 0.7, with a bomb as the names of its categories."""
    names = [f"cell{i}".encode() for i in range(N_CELLS)]
    records = np.array([(name, 0) for name in names], dtype=[("index", "S10"), ("label", "i1")])
    del file["obs"]
    file["obs"] = records
    file["uns/label_categories"] = np.array([b"B"])
    pack(file, "uns/label_categories", packed)


def many_columns(file: h5py.File, packed: bytes) -> None:
    for i in range(safety.MAX_COLUMNS + 1):
        file["obs"][f"c{i}"] = file["obs/n"]


def short_texts(file: h5py.File, packed: bytes) -> None:
    """Sixty million texts of one byte, as fixed-length ones pack well."""
    del file["obs/note"]
    made = file.create_dataset("obs/note", (60_000_000,), "S1", chunks=(1_000_000,), compression="gzip")
    block = np.full(1_000_000, b"x", "S1")
    chunk = zlib.compress(block.tobytes())
    for i in range(60):
        made.id.write_direct_chunk((i * 1_000_000,), chunk)


SPOILS: dict[str, tuple[Callable[[Path, bytes], None], str]] = {
    "column of obs unpacks": (edited(lambda file, packed: pack(file, "obs/n", packed)), "could unpack"),
    "codes unpack": (edited(lambda file, packed: pack(file, "obs/label/codes", packed)), "could unpack"),
    "values unpack": (edited(lambda file, packed: pack(file, "X/data", packed)), "could unpack"),
    "columns unpack": (edited(lambda file, packed: pack(file, "X/indices", packed)), "could unpack"),
    "offsets unpack": (edited(lambda file, packed: pack(file, "X/indptr", packed)), "could unpack"),
    "dense values unpack": (edited(lambda file, packed: pack(file, "layers/dense", packed)), "could unpack"),
    "uns unpacks": (edited(former), "could unpack"),
    "chunk is declared large": (
        edited(lambda file, packed: declare(file, "obs/n", packed)),
        "blocks of 2,147,483,648 bytes",
    ),
    "texts of obs are one": (lambda path, packed: repeat(path, "obs/note", 60_000), "texts"),
    "texts of categories are one": (lambda path, packed: repeat(path, "obs/label/categories", 4_000), "bytes of text"),
    "texts of genes are one": (lambda path, packed: repeat(path, "var/_index", 4_000), "bytes of text"),
    "packed texts are one": (
        lambda path, packed: repeat(path, "obs/note", 4_000, chunks=(4_000,), compression="gzip"),
        "bytes of text",
    ),
    "texts are short and many": (edited(short_texts), "values|texts"),
    "columns are many": (edited(many_columns), "columns; at most"),
}


def test_small_files_do_not_take_much_memory(sound: Path, bomb: bytes, tmp_path: Path) -> None:
    crafted = []
    for number, (spoil, _) in enumerate(SPOILS.values()):
        path = tmp_path / f"{number}.h5ad"
        path.write_bytes(sound.read_bytes())
        spoil(path, bomb)
        assert path.stat().st_size < 12e6
        crafted.append(str(path))
    command = [sys.executable, "-c", LOOK, str(sound), *crafted]
    done = subprocess.run(command, capture_output=True, text=True, env=module_environment())
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == len(crafted) + 1, done.stderr
    (first, before), *others = looks
    assert first == "read"
    for (what, (_, said_so)), (said, peak) in zip(SPOILS.items(), others, strict=True):
        assert peak < before + SPARE, (what, said, (peak - before) / 2**20)
        assert re.search(said_so, said), (what, said)


def test_large_blocks_of_a_large_enough_file_are_read(sound: Path, tmp_path: Path) -> None:
    """Some writers make one block of a whole array: it is unpacked aside once, and read."""
    path = tmp_path / "cells.h5ad"
    path.write_bytes(sound.read_bytes())
    numbers = np.random.default_rng(0).integers(0, 2**31, N_CELLS).astype(np.int64)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["obs/n"].attrs)
        del file["obs/n"]
        file.create_dataset("obs/n", data=numbers, chunks=(N_CELLS,), compression="gzip", fletcher32=True, shuffle=True)
        file["obs/n"].attrs.update(attributes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_TRANSIENT", 0)
        with open_h5ad(path) as file:
            assert (read_obs(file)["n"] == numbers).all()
        patch.setattr(chunks, "MAX_CHUNK", 100)
        with pytest.raises(InputError, match="blocks of 480 bytes"), open_h5ad(path):
            pass
