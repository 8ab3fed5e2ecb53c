"""Options that are generated from the params: defaults, bounds and help."""

import argparse
from typing import get_args

import pytest

from labeltransfer.cli import library
from labeltransfer.cli import options as table
from labeltransfer.cli.main import USER_ERROR, main, parser
from labeltransfer.cli.options import MAPPING_EPOCHS, Option, choices_of, value_of
from labeltransfer.errors import SettingsError
from labeltransfer.params import run_params
from labeltransfer.presets import DEFAULT_PRESET, PRESETS, PresetName, mapping_pace, scanvi_pace, scvi_epochs

COMMANDS: dict[str, tuple[tuple[Option, ...], PresetName]] = {
    "run": (table.RUN, DEFAULT_PRESET),
    "map": (table.MAP, DEFAULT_PRESET),
    "train-reference": (table.TRAIN_REFERENCE, library.TRAIN_PRESET),
}
GENERATED = [(command, option) for command, (options, _) in COMMANDS.items() for option in options]


def action_of(command: str, option: Option) -> argparse.Action:
    """The option as argparse has it."""
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return next(a for a in commands.choices[command]._actions if option.flag in a.option_strings)


def expected_default(command: str, option: Option) -> str | None:
    """What the params, or the command's preset, give where the option is not given; None where they leave it open."""
    preset = COMMANDS[command][1]
    if option is MAPPING_EPOCHS:
        return f"at most {mapping_pace(None, n_cells=1).max_epochs}"
    asked = run_params({"reference": {"path": "r"}, **PRESETS[preset]})
    value: object = asked
    for part in option.field.split("."):
        value = getattr(value, part)
    if value is None and option.key == "max_epochs":
        most = scvi_epochs(asked.integrate, n_cells=1), scanvi_pace(asked.transfer, n_cells=1).max_epochs
        return f"by preset; {preset}: at most {most[option.section == 'transfer']}"
    return None if value is None or value == () else str(value)


@pytest.mark.parametrize(("command", "option"), GENERATED, ids=lambda value: getattr(value, "flag", value))
def test_help_states_the_true_default(command: str, option: Option) -> None:
    action = action_of(command, option)
    text = (action.help or "").replace("%%", "%")
    assert action.default in (None, []), "what is not given is left to the params"
    if option.required or option.key == "filters":
        assert "default" not in text
        return
    said = text.rpartition("(default: ")[2].removesuffix(")")
    expected = expected_default(command, option)
    assert said == expected or said.startswith(f"{expected},") or (expected is None and said == option.unset != "")


def test_the_default_epochs_are_those_of_the_training() -> None:
    assert "at most 50" in (action_of("map", MAPPING_EPOCHS).help or "")
    assert "at most 120" in (action_of("run", table.SCVI_EPOCHS).help or "")


@pytest.mark.parametrize(("command", "option"), GENERATED, ids=lambda value: getattr(value, "flag", value))
def test_out_of_bounds_is_one_sentence_and_exit_2(
    command: str, option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [str(bound) for bound in outside(option)]
    if choices_of(option):
        wrong = ["nonsense", *set(get_args(option.info.annotation)) - set(choices_of(option))]
    for value in wrong:
        assert main([command, f"{option.flag}={value}"]) == USER_ERROR
        error = capsys.readouterr().err
        assert error.startswith(f"{option.flag}: ") and len(error.strip().splitlines()) == 1


def outside(option: Option) -> list[object]:
    """Values just beyond each bound of a number, and what is no number."""
    found: list[object] = []
    for bound in option.info.metadata:
        found += [bound.ge - 1] if hasattr(bound, "ge") else [bound.gt] if hasattr(bound, "gt") else []
        found += [bound.le + 1] if hasattr(bound, "le") else []
    return [*found, "many"] if found else []


def test_numbers_and_words_are_checked() -> None:
    assert value_of(table.N_TOP_GENES, "300") == 300
    assert value_of(table.REJECT_BELOW, 0.5) == 0.5
    with pytest.raises(SettingsError, match="from 100 to 10000"):
        value_of(table.N_TOP_GENES, 99)
    with pytest.raises(SettingsError, match="one of none, reference, query"):
        value_of(table.LENGTH_NORMALIZE, "both")


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0 and "(default: " in capsys.readouterr().out
