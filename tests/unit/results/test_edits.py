"""Edits of labels by hand: what they do to labels, and how they are kept."""

import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeltransfer.errors import LabelTransferError, RunError, SettingsError
from labeltransfer.params import RunParams, SideParams
from labeltransfer.results.export import predictions
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.scores.final_labels import Edit, deciding, final_labels
from labeltransfer.results.trust.rejection import Rule
from labeltransfer.runs.records.edits import add_edit, edits_file, read_edits, undo_edit
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store


def edit(action: str = "relabel", label: str = "NK", rows: tuple[int, ...] = (1, 2), **other: object) -> Edit:
    given = {"id": "", "name": f"{action} {label}", "side": "query", "observed": "T", "predicted": "B"} | other
    return Edit(action=action, label=label, rows=rows, **given)


@pytest.fixture
def run(lt_home: Path) -> Run:
    sides = {"reference": SideParams(path="r.h5ad"), "query": SideParams(path="q.h5ad")}
    return default_store().create(RunParams(**sides))


@pytest.fixture
def cells() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cell_id": [f"c{i}" for i in range(6)],
            "side": pd.Categorical(["reference"] * 2 + ["query"] * 4),
            "technology": "10x",
            "batch": "10x",
            "observed_label": pd.Categorical(["B", "T", "T", "T", "B", None]),
            "predicted_label": pd.Categorical(["B", "T", "B", "B", "B", "T"], categories=["B", "T"]),
            "confidence": [0.9, 0.8, 0.4, 0.6, 0.9, 0.7],
            "second_label": "T",
            "second_confidence": 0.1,
        }
    )


def test_each_action_gives_its_label_and_the_last_edit_decides(cells: pd.DataFrame) -> None:
    edits = [
        edit("accept", "B", (2, 3), who="a@lab.org"),
        edit("relabel", "new kind", (3, 4), who="b@lab.org"),
        edit("exclude", "", (5,)),
    ]
    decided = deciding(edits, 6)
    assert decided.tolist() == [-1, -1, 0, 1, 1, 2]
    table = final_labels(cells["predicted_label"], edits, decided)
    assert table["final_label"].astype(object).where(table["final_label"].notna(), None).tolist() == [
        "B",
        "T",
        "B",
        "new kind",
        "new kind",
        None,
    ]
    assert table["edit_action"].tolist()[2:] == ["accept", "relabel", "relabel", "exclude"]
    assert table["edit_action"].isna().tolist()[:2] == [True, True]
    assert table["edited_by"].tolist()[2:] == ["a@lab.org", "b@lab.org", "b@lab.org", ""]
    assert table["edit"].tolist()[2] == "accept B"


def test_the_export_has_the_outcome_next_to_predictions_that_stay(cells: pd.DataFrame) -> None:
    before = predictions.predictions(cells, "r")
    assert "final_label" not in before
    after = predictions.predictions(cells, "r", edits=[edit(rows=(2, 0))])
    assert after["predicted_label"].tolist() == before["predicted_label"].tolist()
    assert after["final_label"].tolist() == ["NK", "B", "B", "T"]
    assert list(after.columns[-5:]) == ["final_label", "edit", "edit_action", "edited_by", "run_id"]
    rows = np.array([0, 2, 5])
    chosen = predictions.predictions(cells, "r", rows=rows, edits=[edit(rows=(2, 0))])
    assert chosen[["cell_id", "final_label"]].values.tolist() == [["c2", "NK"], ["c5", "T"]]
    both = predictions.predictions(cells, "r", side=None, rows=rows, edits=[edit(rows=(2, 0))])
    assert both["final_label"].tolist() == ["NK", "NK", "T"]


def test_an_edit_outweighs_rejection_and_the_rest_is_as_rejected(cells: pd.DataFrame) -> None:
    table = predictions.predictions(cells, "r", rule=Rule(confidence=0.65), edits=[edit("accept", "B", (2,))])
    assert table["predicted_label"].tolist() == ["Unknown", "Unknown", "B", "T"]
    assert table["final_label"].tolist() == ["B", "Unknown", "B", "T"]


def test_a_label_that_a_spreadsheet_would_run_is_escaped(cells: pd.DataFrame) -> None:
    text = to_csv(predictions.predictions(cells, "r", edits=[edit(label="=1+1", rows=(2,), name="@x")]))
    assert "'=1+1,'@x,relabel" in text


def test_cells_that_the_run_lacks_are_refused() -> None:
    with pytest.raises(SettingsError, match="about cell 7, but the run has 6"):
        deciding([edit(rows=(7,))], 6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"action": "delete"}, "cannot 'delete'"),
        ({"name": "  "}, "needs a name"),
        ({"label": ""}, "need a label"),
        ({"label": "x" * 200}, "at most 120"),
        ({"action": "exclude", "label": "B"}, "have no label"),
        ({"rows": ()}, "No cell belongs to"),
    ],
)
def test_what_is_no_edit_says_why(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(LabelTransferError, match=says):
        edit(**wrong)


def test_edits_are_kept_in_order_with_time_and_come_back_the_same(run: Run) -> None:
    assert read_edits(run) == []
    first, second = add_edit(run, edit(who="a@lab.org")), add_edit(run, edit("exclude", "", (0,)))
    assert read_edits(run) == [first, second]
    assert first.id != second.id
    assert second.when >= first.when > 1e9
    assert json.loads(edits_file(run).read_text())[0]["rows"] == [1, 2]


def test_any_edit_can_be_undone_once(run: Run) -> None:
    kept = [add_edit(run, edit(name=name)) for name in ("one", "two", "three")]
    undo_edit(run, kept[1].id)
    assert [e.name for e in read_edits(run)] == ["one", "three"]
    with pytest.raises(RunError, match="undone before"):
        undo_edit(run, kept[1].id)


def test_two_people_who_edit_at_once_both_count(run: Run) -> None:
    people = [threading.Thread(target=add_edit, args=(run, edit(name=f"edit {i}"))) for i in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert {e.name for e in read_edits(run)} == {f"edit {i}" for i in range(8)}


@pytest.mark.parametrize("content", ["[{", '[{"name": "x"}]', '{"a": 1}', '[{"rows": 3}]'])
def test_a_damaged_file_is_said_and_not_overwritten(run: Run, content: str) -> None:
    edits_file(run).write_text(content)
    with pytest.raises(RunError, match=r"edits\.json cannot be read"):
        read_edits(run)
    with pytest.raises(RunError):
        add_edit(run, edit())
    assert edits_file(run).read_text() == content
