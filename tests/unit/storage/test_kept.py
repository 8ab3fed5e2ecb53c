"""Files that are made once: believed while they are what was kept, and made or fetched again where they are not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labeltransfer.api.inputs import stored
from labeltransfer.data.demo import simulate
from labeltransfer.storage import kept
from labeltransfer.storage.download import download
from tests.support.file_server import serve

CONTENT = b"content of a file" * 1000


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path: Path) -> None:
    """Change a byte and nothing that a listing shows, as a failing disk does."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": _cut,
    "flipped": _flip,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file"
    found.write_bytes(CONTENT)
    kept.seal(found)
    return found


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_believed(path: Path, damage: str) -> None:
    assert kept.is_whole(path) and kept.is_whole(path, quick=True)
    DAMAGES[damage](path)
    assert not kept.is_whole(path)


def test_a_file_is_read_once_in_a_process_while_it_stays_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    digest = kept.file_digest
    monkeypatch.setattr(kept, "file_digest", lambda found: (read.append(found), digest(found))[1])
    assert all(kept.is_whole(path) for _ in range(5)) and len(read) == 1
    path.touch()  # a copy of the home has new times, and the same content
    assert all(kept.is_whole(path, quick=True) for _ in range(5)) and len(read) == 2


@pytest.mark.parametrize("note", [b"", b"{", b"null", b"[1]", None])
def test_a_file_without_a_good_note_is_not_believed(path: Path, note: bytes | None) -> None:
    kept.note_path(path).unlink()
    if note is not None:
        kept.note_path(path).write_bytes(note)
    assert not kept.is_whole(path)


def test_a_note_belongs_to_its_file(path: Path) -> None:
    assert kept.belongs_to_a_file(kept.note_path(path)) and not kept.belongs_to_a_file(path)
    path.unlink()
    assert not kept.belongs_to_a_file(kept.note_path(path))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_download_that_was_damaged_since_is_fetched_again(tmp_path: Path, damage: str) -> None:
    target = tmp_path / "downloads" / "file"
    with serve(CONTENT) as server:
        for _ in range(3):
            assert download(f"{server.url}/file", target).read_bytes() == CONTENT
        assert len(server.requests) == 1
        DAMAGES[damage](target)
        assert download(f"{server.url}/file", target).read_bytes() == CONTENT
        assert len(server.requests) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_demo_data_that_were_damaged_are_simulated_again(
    lt_home: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def small(folder: Path) -> None:
        for name in (simulate.REFERENCE, simulate.QUERY, simulate.LENGTHS):
            (folder / name).write_bytes(CONTENT)

    monkeypatch.setattr(simulate, "simulate", small)
    simulate.ensure_demo()
    query = lt_home / "demo" / simulate.QUERY
    before = query.stat().st_ino
    simulate.ensure_demo()
    assert query.stat().st_ino == before
    DAMAGES[damage](query)
    simulate.ensure_demo()
    assert query.read_bytes() == CONTENT


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_anndata_whose_file_was_damaged_is_written_again(tmp_path: Path, damage: str) -> None:
    import anndata as ad
    import numpy as np

    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    path = stored(adata, "query", tmp_path)
    good = path.read_bytes()
    assert stored(adata, "query", tmp_path) == path
    DAMAGES[damage](path)
    assert stored(adata, "query", tmp_path) == path and path.read_bytes() == good
