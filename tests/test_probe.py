"""A file of unknown origin is first read where a hang or a crash costs nothing."""

from pathlib import Path

import pytest

from labeltransfer.data.demo import REFERENCE
from labeltransfer.data.probe import probe
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
