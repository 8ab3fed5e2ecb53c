"""A file of unknown origin is first read where a hang or a crash costs nothing."""

import sys
from pathlib import Path

import h5py
import pytest

from labeltransfer.data.demo.simulate import REFERENCE
from labeltransfer.data.intake.probe import probe
from labeltransfer.errors import InputError


def test_a_sound_file_passes(demo_pair: Path) -> None:
    probe(demo_pair / REFERENCE)


def test_what_is_refused_is_refused_in_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "cells.h5ad"
    file.write_text("no HDF5")
    with pytest.raises(InputError, match="no h5ad"):
        probe(file)


def test_a_look_that_does_not_end_is_ended(demo_pair: Path) -> None:
    with pytest.raises(InputError, match="did not end within"):
        probe(demo_pair / REFERENCE, patience=0.05)


def test_a_file_that_makes_hdf5_loop_for_ever_is_refused(demo_pair: Path, tmp_path: Path) -> None:
    content = bytearray((demo_pair / REFERENCE).read_bytes())
    content[3072:3584] = bytes(512)
    damaged = tmp_path / "damaged.h5ad"
    damaged.write_bytes(content)
    with pytest.raises(InputError):
        probe(damaged, patience=8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of another process")
def test_a_file_that_refers_to_more_text_than_memory_holds_is_refused(demo_pair: Path, tmp_path: Path) -> None:
    crafted = tmp_path / "crafted.h5ad"
    crafted.write_bytes((demo_pair / REFERENCE).read_bytes())
    with h5py.File(crafted, "r+") as file:
        cells = file["obs"].attrs["_index"]
        n_cells = len(file["obs"][cells])
        note = file["obs"].create_dataset("note", (n_cells,), h5py.string_dtype())
        note[0] = "x" * 2**20
        note.attrs["encoding-type"], note.attrs["encoding-version"] = "string-array", "0.2.0"
        file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "note"]
        at = note.id.get_offset()
    content = bytearray(crafted.read_bytes())
    content[at : at + 16 * n_cells] = content[at : at + 16] * n_cells  # every cell points at the one text
    crafted.write_bytes(content)
    probe(demo_pair / REFERENCE, memory=2**29)
    with pytest.raises(InputError, match=r"declares [\d,]+ bytes of text"):
        probe(crafted, memory=2**29)
