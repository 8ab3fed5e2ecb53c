"""Typed artefacts of a run: each name leads to one file of one stage."""

from pathlib import Path

import pytest

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.runs.records.artefacts import Artefact, Artefacts
from labeltransfer.runs.records.checksums import seal
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.worker.stages import STAGES

TABLE = {name: found for name, found in vars(Artefacts).items() if isinstance(found, Artefact)}


@pytest.fixture
def run(tmp_path: Path, small_params: RunParams) -> Run:
    store = Store(tmp_path)
    made = store.create(small_params)
    store.claim_stage(made, "evaluate", "x")
    folder = store.stage_folder("evaluate", "x")
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    seal(folder)
    return made


def test_each_artefact_is_another_file_of_a_stage() -> None:
    assert {found.stage for found in TABLE.values()} == set(STAGES)
    assert len(set(TABLE.values())) == len(TABLE)


def test_a_name_gives_the_path_and_says_what_is_not_made(run: Run) -> None:
    assert run.artefacts.metrics == run.root / "stages" / "evaluate-x" / "metrics.json"
    with pytest.raises(RunError, match="no finished stage 'transfer'"):
        run.artefacts.latent("transfer")


def test_a_whole_artefact_is_the_one_that_was_made(run: Run) -> None:
    assert run.whole_artefacts.metrics == run.artefacts.metrics
    run.artefacts.metrics.write_text("[]")
    with pytest.raises(RunError, match="checksum"):
        _ = run.whole_artefacts.metrics


def test_an_artefact_that_there_is_not_is_an_error(run: Run) -> None:
    with pytest.raises(AttributeError, match="cell"):
        _ = run.artefacts.cell  # type: ignore[attr-defined]  # mypy finds it
