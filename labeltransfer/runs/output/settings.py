"""The settings of a run as they leave it: without the folders of the machine that it was carried out on."""

import json
from pathlib import Path
from typing import Any

from labeltransfer.runs.records.run import Run


def exported_settings(run: Run) -> dict[str, Any]:
    """What was asked of a run, as plain data, with files by name alone.

    Where a server keeps its files, and who has an account there, is nobody's business who reads a supplement.

    Raises
    ------
    SettingsError
        ``params.json`` of the run is damaged.
    """
    settings = run.params.model_dump(mode="json")
    for section, field in (("reference", "path"), ("query", "path"), ("prepare", "gene_lengths")):
        if path := settings[section][field]:
            settings[section][field] = Path(path).name
    return settings


def params_json(run: Run) -> str:
    """``params.json`` as it is exported; raises SettingsError, see :func:`exported_settings`."""
    return json.dumps(exported_settings(run), indent=2, ensure_ascii=False) + "\n"
