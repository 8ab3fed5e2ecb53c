"""Settings: bounds, names and the presets."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from labeltransfer.errors import SettingsError
from labeltransfer.params import IntegrateParams, PanelParams, RunParams, TransferParams, read_params, run_params
from labeltransfer.presets import PRESETS, scvi_epochs

SIDES = {"reference": {"path": "r.h5ad"}, "query": {"path": "q.h5ad"}}


def test_tutorial_preset_is_what_the_tutorial_sets() -> None:
    integrate, transfer = PRESETS["tutorial"]["integrate"], PRESETS["tutorial"]["transfer"]
    assert isinstance(integrate, IntegrateParams) and isinstance(transfer, TransferParams)
    assert (integrate.n_layers, integrate.n_latent) == (2, 30)
    assert (transfer.max_epochs, transfer.n_samples_per_label) == (20, 100)
    assert run_params(SIDES).prepare.n_top_genes == 2000


@pytest.mark.parametrize("n_cells", [100, 15_907, 20_000, 35_000, 1_000_000, 30_000_000])
def test_full_budget_is_scvi_tools_own_rule(n_cells: int) -> None:
    from scvi.model._utils import get_max_epochs_heuristic

    assert scvi_epochs(IntegrateParams(), n_cells=n_cells) == get_max_epochs_heuristic(n_cells)


def test_quick_budget_stays_between_15_and_40_epochs() -> None:
    epochs = [scvi_epochs(IntegrateParams(budget="quick"), n_cells=n) for n in (500, 10_000, 1_000_000)]
    assert epochs == [40, 30, 15]


def test_epochs_that_are_given_win_over_the_budget() -> None:
    assert scvi_epochs(IntegrateParams(max_epochs=7, budget="quick"), n_cells=10) == 7


def test_settings_cannot_change_after_they_are_made() -> None:
    params = run_params(SIDES)
    with pytest.raises(ValidationError):
        params.seed = 3


def test_every_fault_is_named() -> None:
    with pytest.raises(SettingsError, match=r"prepare\.n_top_genes.*colour"):
        run_params(SIDES | {"prepare": {"n_top_genes": 3}, "colour": "red"})


def test_settings_survive_the_way_through_json(tmp_path: Path) -> None:
    params = run_params(SIDES | {"reference": {"path": "r", "filters": {"sex": ["female"]}}})
    file = tmp_path / "params.json"
    file.write_text(params.model_dump_json())
    assert read_params(file) == params


def test_of_many_faults_the_first_are_named() -> None:
    with pytest.raises(SettingsError, match="and 1988 more") as caught:
        run_params(SIDES | {f"{i}{'x' * 1000}": "y" * 1000 for i in range(2_000)})
    assert len(str(caught.value)) < 5_000


@pytest.mark.parametrize(
    "content", ["{", json.dumps([1]), json.dumps({"reference": 3}), "[" * 200_000, '{"seed": 1e999}', '{"seed": NaN}']
)
def test_damaged_settings_are_refused_in_words(tmp_path: Path, content: str) -> None:
    file = tmp_path / "params.json"
    file.write_text(content)
    with pytest.raises(SettingsError):
        read_params(file)


def test_every_setting_has_a_title_and_a_line_of_help() -> None:
    for model in (RunParams, IntegrateParams, TransferParams, PanelParams):
        for name, field in model.model_fields.items():
            if name not in SIDES and not name.startswith(("prepare", "integrate", "transfer", "panel", "embed")):
                assert field.title and field.description, name
