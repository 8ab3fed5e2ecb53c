"""Settings of a run out of plain data: parsed JSON, a draft, a params.json."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labeltransfer.errors import SettingsError
from labeltransfer.params import RunParams

MOST_FAULTS = 12
"""Faults that one message lists."""


def run_params(settings: dict[str, Any]) -> RunParams:
    """Build the settings of a run from plain data, such as parsed JSON.

    Raises
    ------
    SettingsError
        A value is out of bounds, of the wrong type or of an unknown name; the first ones are listed.
    """
    try:
        return RunParams.model_validate(settings)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))[:100]}: {e['msg'][:200]}" for e in error.errors()]
        more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise SettingsError(f"These settings cannot be used: {'; '.join(faults[:MOST_FAULTS])}{more}.") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read a JSON file of settings, which need not be complete.

    Raises
    ------
    SettingsError
        The file cannot be read or is not a JSON object.
    """
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:  # the last where it is nested too deep
        raise SettingsError(f"{path} cannot be read as JSON settings ({error}): repair it or leave it out.") from error
    if not isinstance(settings, dict):
        raise SettingsError(f"{path} holds no JSON object of settings: see params.json of a finished run for the form.")
    return settings


def read_params(path: Path) -> RunParams:
    """Read a complete ``params.json``.

    Raises
    ------
    SettingsError
        The file cannot be read or holds settings that cannot be used.
    """
    return run_params(read_settings(path))
