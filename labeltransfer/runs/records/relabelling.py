"""Layers of corrected labels of a run on disk: named sets of audit rows, ``relabelling.json`` in the run's folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from labeltransfer.errors import SettingsError
from labeltransfer.results.audit.corrections import Correction, Layer
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import require_changeable
from labeltransfer.storage.ledger import Ledger

FILE = "relabelling.json"
"""In the folder of a run: all its layers."""

LONGEST_NAME = 80
"""Characters of a layer's name."""


def layers(folder: Path) -> list[Layer]:
    """Layers of a run, in the order in which they were made; none where there is no file.

    Raises
    ------
    RunError
        The file is damaged.
    """
    return _ledger(folder).read()


def keep_layer(folder: Path, name: str, table: pd.DataFrame, rows: Sequence[int], *, by: str = "") -> Layer:
    """Keep some rows of the audit as a named layer of a run; one of the same name is replaced.

    Raises
    ------
    SettingsError
        The name is empty or too long, or no row is chosen.
    RunError
        The run comes with the app, or the file is damaged or cannot be written.
    """
    require_changeable(Run(folder))
    name = name.strip()
    if not name or len(name) > LONGEST_NAME:
        raise SettingsError(f"The layer needs a name of 1 to {LONGEST_NAME} characters.")
    if not len(rows):
        raise SettingsError("No row of the audit is chosen: choose at least one to apply.")
    columns = ["observed_label", "kind", "partner_label"]
    layer = Layer(name, tuple(Correction(*map(str, found)) for found in table.iloc[list(rows)][columns].to_numpy()))
    ledger = _ledger(folder)
    with ledger.changing() as kept:
        ledger.write([*(other for other in kept if other.name != name), layer])
    Run(folder).note("relabelled", by)
    return layer


def remove_layer(folder: Path, name: str, *, by: str = "") -> None:
    """Forget a layer; the observed labels were never changed, so nothing has to be undone.

    Raises
    ------
    RunError
        The run comes with the app, or the file is damaged or cannot be written.
    """
    require_changeable(Run(folder))
    ledger = _ledger(folder)
    with ledger.changing() as kept:
        ledger.write([layer for layer in kept if layer.name != name])
    Run(folder).note("relabelled", by)


def _ledger(folder: Path) -> Ledger[list[Layer]]:
    return Ledger(
        folder / FILE,
        lambda found: [_layer(entry) for entry in found["layers"]],
        lambda kept: {"layers": [asdict(layer) for layer in kept]},
        {"layers": []},
        "begin again; the run itself is not touched",
    )


def _layer(entry: dict[str, Any]) -> Layer:
    return Layer(str(entry["name"]), tuple(Correction(**found) for found in entry["corrections"]))
