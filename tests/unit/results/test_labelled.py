"""All cells of a run at the level that the promised error allows."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labeltransfer.params import UNKNOWN
from labeltransfer.results.levels.back_off import contradictions
from labeltransfer.results.levels.hierarchy import from_parents
from labeltransfer.results.levels.labelled import COLUMNS, label_cells

LABELS = ["T_CD4", "T_CD8", "B"]
TREE = from_parents(LABELS, {"broad": {"T_CD4": "T", "T_CD8": "T", "B": "B"}})


def table(n_cells: int, *, doubt: float) -> pd.DataFrame:
    """T cells and B cells; in every second T cell both kinds of T cell are likely, the second with ``doubt``."""
    rows = [[0.98, 0.01, 0.01], [0.99 - doubt, doubt, 0.01], [0.005, 0.005, 0.99], [0.01, 0.98, 0.01]]
    return pd.DataFrame(np.resize(np.array(rows), (n_cells, 3)), columns=LABELS)


def found(*, n_held_out: int = 400, error: float = 0.05, doubt: float = 0.3) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A reference of held-out cells, of which every second of the doubtful ones is wrong, and a query like it."""
    cells = pd.concat([table(n_held_out, doubt=doubt), table(200, doubt=doubt)], ignore_index=True)
    observed = cells.to_numpy().argmax(axis=1)[:n_held_out]
    observed[1::8] = 1
    return label_cells(
        cells,
        TREE,
        held_out=np.arange(n_held_out),
        held_out_probabilities=cells[:n_held_out],
        observed=observed,
        is_query=np.arange(len(cells)) >= n_held_out,
        error=error,
    )


def test_doubtful_cells_get_the_coarser_label_and_sure_ones_the_finest() -> None:
    cells, promised = found()
    assert tuple(cells.columns[:4]) == COLUMNS and len(cells) == 600
    assert cells["label"].tolist()[-4:] == ["T_CD4", "T", "B", "T_CD8"]
    assert contradictions(cells, TREE) == 0
    promise = promised["promise"]
    assert promise["kept"] and promise["interval"][1] <= 0.05 and promise["coverage"]["broad"] == 0.25
    assert promised["levels"] == ["broad", "label"]
    assert [node["name"] for node in promised["nodes"]] == ["any", "T", "B", "T_CD4", "T_CD8"]


def test_an_error_that_can_be_borne_leaves_the_finest_labels() -> None:
    assert UNKNOWN not in set(found(error=0.3)[0]["label"]) and "T" not in set(found(error=0.3)[0]["label"])


@pytest.mark.parametrize("n_held_out", [0, 12])
def test_without_enough_held_out_cells_nothing_is_promised(n_held_out: int) -> None:
    cells, promised = found(n_held_out=n_held_out, doubt=0.4)
    assert not promised["promise"]["kept"]
    assert cells["label"].tolist()[-4:] == ["T_CD4", "T", "B", "T_CD8"]  # as far as the confidence goes
    assert json.loads(json.dumps(promised, allow_nan=False)) == promised
