"""The pace of a run, and what it reuses."""

from pathlib import Path

import pytest

from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.records.timing import remaining_seconds, reused_stages, stage_seconds, training_history
from labeltransfer.runs.worker.pipeline import stage_keys, stages_of
from labeltransfer.storage.files import write_json

EVERYTHING = {"prepare", "integrate", "embed_scvi", "transfer", "opinions", "embed_scanvi", "evaluate"}


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    for side in ("reference", "query"):
        (tmp_path / f"{side}.h5ad").write_text(side)
    return run_params({side: {"path": str(tmp_path / f"{side}.h5ad")} for side in ("reference", "query")})


@pytest.fixture
def run(tmp_path: Path, params: RunParams) -> Run:
    return Store(tmp_path / "home").create(params)


def epoch(run: Run, number: int, seconds: float, stage: str = "integrate") -> None:
    run.append_event("epoch", stage=stage, epoch=number, n_epochs=10, train_loss=1.0, seconds=seconds)


def test_nothing_is_forecast_before_the_first_epoch(run: Run) -> None:
    assert remaining_seconds(run, Status(state="running", stage="integrate", n_epochs=10)) is None


def test_the_pace_of_the_last_epochs_foretells_the_rest(run: Run) -> None:
    for number, seconds in enumerate([60, 2, 2, 2], start=1):  # the first one also loads libraries
        epoch(run, number, seconds)
    status = Status(state="running", stage="integrate", epoch=4, n_epochs=10, fraction=0.4)
    assert remaining_seconds(run, status) == pytest.approx(12)


def test_nothing_remains_of_a_run_that_is_over(run: Run) -> None:
    epoch(run, 1, 2)
    assert remaining_seconds(run, Status(state="done", stage="integrate", n_epochs=10)) is None


def test_a_run_that_reuses_a_model_shows_its_losses(run: Run) -> None:
    store = Store(run.root)
    store.claim_stage(run, "integrate", "k")
    with store.build_stage(run, "integrate", "k") as folder:
        write_json(folder / "history.json", [{"event": "epoch", "stage": "integrate", "epoch": 1, "train_loss": 5.0}])
        write_json(folder / "stage.json", {"seconds": 81.5})
    run.append_event("start", stage="integrate", reused=True)
    epoch(run, 1, 2, stage="transfer")
    assert [(e["stage"], e["train_loss"]) for e in training_history(run)] == [("integrate", 5.0), ("transfer", 1.0)]
    assert reused_stages(run) == ["integrate"]
    assert stage_seconds(run) == {"integrate": 81.5}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"transfer": {"max_epochs": 3}}, {"prepare", "integrate", "embed_scvi"}),
        ({"embed": {"n_neighbors": 30}}, {"prepare", "integrate", "transfer", "opinions"}),
        ({"reject_below": 0.5}, EVERYTHING),
        ({"integrate": {"lr": 0.01}}, {"prepare"}),
        ({"seed": 4}, {"prepare"}),
        ({"prepare": {"n_top_genes": 500}}, set()),
        ({"name": "another name"}, EVERYTHING),
    ],
)
def test_a_stage_is_made_anew_only_if_something_it_depends_on_has_changed(
    params: RunParams, change: dict[str, object], same: set[str]
) -> None:
    before, after = stage_keys(params), stage_keys(run_params(params.model_dump() | change))
    assert {stage for stage in before if before[stage] == after[stage]} == same


def test_another_content_of_an_input_file_makes_everything_anew(params: RunParams) -> None:
    before = stage_keys(params)
    Path(params.query.path).write_text("other cells")
    assert not set(before.values()) & set(stage_keys(params).values())


def test_a_run_can_stop_before_training(params: RunParams) -> None:
    assert stages_of(params.model_copy(update={"last_stage": "prepare"})) == ["prepare"]
    assert stages_of(params)[-1] == "evaluate"
