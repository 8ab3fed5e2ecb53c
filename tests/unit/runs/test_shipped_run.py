"""The run that comes with the app is part of the installation: nothing that people change is kept there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.errors import RunError
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.records import edits, relabelling, store, term_overrides
from labeltransfer.runs.records.run import Run

TABLE = pd.DataFrame({"observed_label": ["B"], "kind": ["all"], "partner_label": ["T"]})
CHANGES: dict[str, Callable[[Run], object]] = {
    "an edit": lambda run: edits.add_edit(run, Edit("", "one", "accept", "T", "query", "B", "T", (1,), who="ada")),
    "an edit undone": lambda run: edits.undo_edit(run, "0a"),
    "a layer": lambda run: relabelling.keep_layer(run.folder, "audited", TABLE, [0]),
    "a layer removed": lambda run: relabelling.remove_layer(run.folder, "audited"),
    "a term": lambda run: term_overrides.override_terms(run.folder, {"beta": "CL:0000169"}),
    "a term undone": lambda run: term_overrides.undo_override(run.folder),
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run, in a copy of the installation's folder."""
    shutil.copytree(store.SHIPPED, tmp_path / "shipped")
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    return store.find_run("demo")


@pytest.mark.parametrize("change", CHANGES)
def test_the_shipped_run_stays_as_it_is(shipped: Run, change: str) -> None:
    before = sorted(shipped.root.rglob("*"))
    with pytest.raises(RunError, match="comes with the app and stays as it is"):
        CHANGES[change](shipped)
    assert sorted(shipped.root.rglob("*")) == before
