"""Artefacts that are damaged on the disk: found by checksum, set aside, made anew, and reported."""

import shutil
import time
from pathlib import Path

import pytest

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.results.scores.cells import read_cells
from labeltransfer.runs.records import checksums
from labeltransfer.runs.records.checksums import damaged_files, require_whole, seal
from labeltransfer.runs.records.run import Status
from labeltransfer.runs.records.store import SHIPPED, Store
from labeltransfer.runs.records.timing import remade_stages
from labeltransfer.runs.worker.work import work


def flip(path: Path) -> None:
    """Turn one bit in the middle over; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    folder = tmp_path / "artefact"
    (folder / "model").mkdir(parents=True)
    (folder / "table").write_bytes(bytes(range(256)) * 40)
    (folder / "model" / "weights").write_bytes(b"weights" * 100)
    seal(folder)
    return folder


def test_each_kind_of_damage_is_found_and_named(artefact: Path) -> None:
    assert damaged_files(artefact) == []
    flip(artefact / "model" / "weights")
    assert damaged_files(artefact) == ["model/weights"]
    assert damaged_files(artefact, quick=True) == []  # sizes alone cannot tell
    assert damaged_files(artefact, only=["table"]) == []
    assert damaged_files(artefact, only=["model"]) == ["model/weights"]
    cut(artefact / "table")
    assert damaged_files(artefact, quick=True) == ["table"]
    (artefact / "table").unlink()
    assert damaged_files(artefact) == ["model/weights", "table"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": {"table": 3}}', '{"files": {"table": ["x", "y"]}}'])
def test_damaged_checksums_are_damage(artefact: Path, content: str) -> None:
    (artefact / checksums.FILE).write_text(content)
    assert damaged_files(artefact) == [checksums.FILE]
    with pytest.raises(RunError, match=r"checksums\.json"):
        require_whole(artefact / "table")


def test_an_artefact_from_before_checksums_counts_as_whole(artefact: Path) -> None:
    (artefact / checksums.FILE).unlink()
    flip(artefact / "table")
    assert damaged_files(artefact) == []
    assert require_whole(artefact / "table").exists()


def test_a_copied_home_is_not_damaged(artefact: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact, tmp_path / "copy", copy_function=shutil.copyfile)  # new times of change
    assert damaged_files(tmp_path / "copy") == []


def test_a_file_is_required_whole_with_the_way_out(artefact: Path) -> None:
    flip(artefact / "model" / "weights")
    assert require_whole(artefact / "table") == artefact / "table"
    for path in (artefact, artefact / "model", artefact / "model" / "weights"):
        with pytest.raises(RunError, match=r"weights of this run cannot be read.*same settings from Train"):
            require_whole(path)


def test_the_shipped_demo_run_is_whole() -> None:
    folders = sorted((SHIPPED / "stages").iterdir())
    assert len(folders) == 7
    for folder in folders:
        assert (folder / checksums.FILE).exists()
        assert damaged_files(folder) == []


def test_damage_is_made_anew_for_every_run_that_refers_to_it(
    store: Store, prepare_only: RunParams, capsys: pytest.CaptureFixture[str]
) -> None:
    first = store.create(prepare_only)
    assert work(first).state == "done"
    file = first.artefacts.prepared
    flip(file)
    damaged = file.read_bytes()
    with pytest.raises(RunError, match=r"prepared\.h5ad"):
        _ = first.whole_artefacts.prepared
    second = store.create(prepare_only)
    assert work(second).state == "done"
    assert "Stage prepare was damaged on disk (prepared.h5ad)" in capsys.readouterr().out
    assert any("damaged on disk" in event["text"] for event in second.events("message"))
    assert not second.events("start")[0]["reused"]
    assert first.whole_artefacts.prepared.read_bytes() != damaged
    assert list(remade_stages(first)) == list(remade_stages(second)) == ["prepare"]
    third = store.create(prepare_only)
    assert work(third).state == "done"
    assert third.events("start")[0]["reused"]
    assert remade_stages(third) == {}
    assert [path.name for path in store.stages.iterdir()] == [file.parent.name]  # nothing is left aside


def test_two_runs_that_find_the_same_damage_leave_the_new_one_alone(store: Store, small_params: RunParams) -> None:
    runs = [store.create(small_params) for _ in range(2)]
    for run in runs:
        store.claim_stage(run, "prepare", "k")
    with store.build_stage(runs[0], "prepare", "k") as folder:
        (folder / "table").write_text("old")
    flip(store.stage_folder("prepare", "k") / "table")

    late = checksums.damaged_files
    remade: list[bool] = []

    def slow(folder: Path, *, only: object = None, quick: bool = False) -> list[str]:
        """The second run finds the damage, and before it acts the first one has made the artefact anew."""
        found = late(folder, only=only, quick=quick)
        if only is None and not quick and not remade:
            remade.append(True)
            assert store.set_damaged_aside(runs[0], "prepare", "k") == ["table"]
            with store.build_stage(runs[0], "prepare", "k") as building:
                (building / "table").write_text("new")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "damaged_files", slow)
        assert store.set_damaged_aside(runs[1], "prepare", "k") == ["table"]
    assert runs[1].artefact("prepare", "table").read_text() == "new"
    with store.build_stage(runs[1], "prepare", "k") as building:  # it makes its own, and is too late
        (building / "table").write_text("newer")
    assert runs[1].artefact("prepare", "table").read_text() == "new"


def test_a_queued_run_does_not_wait_for_a_clock_that_went_back(store: Store, small_params: RunParams) -> None:
    run = store.create(small_params)
    run.write_status(Status(created=time.time() + 3600))
    assert run.status().state == "failed"


def test_a_flipped_bit_in_an_old_table_is_said_in_words_where_it_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(RunError, match=r"cells\.parquet of this run cannot be read"):
        read_cells(path)
