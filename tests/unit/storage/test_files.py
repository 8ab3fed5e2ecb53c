"""Atomic writes, digests and locks."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from labeltransfer.storage.digests import digest, file_digest, new_digest
from labeltransfer.storage.files import atomic_path, move_into_place, read_json, write_atomic, write_json
from labeltransfer.storage.locks import is_held


def test_a_file_takes_its_name_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with atomic_path(target) as path:
        path.write_text("new")
        assert target.read_text() == "old"
        assert path.parent == target.parent and path.name.startswith(".")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_failed_block_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(ValueError, match="no"), atomic_path(target) as path:
        path.write_text("half")
        raise ValueError("no")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    contents = [{"n": n, "text": "x" * 10_000} for n in range(8)]
    threads = [threading.Thread(target=write_json, args=(target, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_json(target) in contents
    assert os.listdir(tmp_path) == ["state.json"]


def test_content_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    write_atomic(tmp_path / "a", b"1")
    (tmp_path / "part").write_bytes(b"2")
    move_into_place(tmp_path / "part", tmp_path / "a")
    assert steps == ["fsync", "replace", "fsync"] * 2, "the content, its name, and the folder of its name"
    assert (tmp_path / "a").read_bytes() == b"2"


def test_a_digest_is_the_same_for_text_bytes_blocks_and_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("ünder")
    blocks = new_digest()
    for block in (b"\xc3", b"\xbcnder"):
        blocks.update(block)
    expected = hashlib.sha256("ünder".encode()).hexdigest()
    assert {digest("ünder"), digest("ünder".encode()), file_digest(tmp_path / "a"), blocks.hexdigest()} == {expected}


def test_a_lock_is_held_as_long_as_its_holder_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    assert not is_held(path)
    with FileLock(path):
        assert is_held(path)
    assert not is_held(path)
