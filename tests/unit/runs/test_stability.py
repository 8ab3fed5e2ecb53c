"""The same run under several seeds, and which runs belong together."""

from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.results.trust import stability
from labeltransfer.runs.records.run import Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.start import related_runs


def table(labels: str, *, first: str = "cell0") -> pd.DataFrame:
    """Cells with a letter each as label; the last two are the reference's."""
    n_cells = len(labels)
    return pd.DataFrame(
        {
            "cell_id": [first, *(f"cell{i}" for i in range(1, n_cells))],
            "side": pd.Categorical(["query"] * (n_cells - 2) + ["reference"] * 2),
            "predicted_label": pd.Categorical(list(labels)),
        }
    )


def test_seeds_are_counted_cell_by_cell() -> None:
    found = stability.compare_seeds(table("AABBAB"), [table("ABBBAA"), table("ABCBAA")])
    assert found.n_seeds == 3
    assert found.agreeing.tolist() == [3, 1, 2, 3, 3, 1]
    assert found.changed.tolist() == [False, True, True, False, False, True]
    assert stability.in_words(found).tolist() == [f"{n} of 3 seeds" for n in (3, 1, 2, 3, 3, 1)]


def test_labels_are_compared_by_name_whatever_their_codes() -> None:
    own, other = table("BBCCBB"), table("BACCAA")
    assert own["predicted_label"].cat.codes.tolist() != other["predicted_label"].cat.codes.tolist()
    assert stability.compare_seeds(own, [other]).agreeing.tolist() == [2, 1, 2, 2, 1, 1]


def test_shares_are_of_one_side_and_by_the_runs_own_label() -> None:
    own = table("AABBAB")
    found = stability.compare_seeds(own, [table("ABBBAA")])
    assert stability.changed_overall(own, found) == (1, 4)
    assert stability.changed_overall(own, found, side="reference") == (1, 2)
    changed = stability.changed_per_label(own, found)
    assert changed.to_dict("records") == [
        {"predicted_label": "A", "n_cells": 2, "n_changed": 1, "share_changed": 0.5},
        {"predicted_label": "B", "n_cells": 2, "n_changed": 0, "share_changed": 0.0},
    ]


@pytest.mark.parametrize("other", [table("AABB"), table("AABBAB", first="stranger")])
def test_other_cells_cannot_be_compared(other: pd.DataFrame) -> None:
    with pytest.raises(RunError, match="are not this run's 6"):
        stability.compare_seeds(table("AABBAB"), [other])


def test_one_seed_alone_tells_nothing() -> None:
    with pytest.raises(RunError, match="no finished run under another seed"):
        stability.compare_seeds(table("AABBAB"), [])


def test_the_next_two_seeds_are_missing_until_they_are_there(lt_home: Path, small_params: RunParams) -> None:
    store = default_store()
    run = store.create(small_params)
    assert related_runs.missing_seeds(run, related_runs.seed_runs(run, store.runs())) == [1, 2]
    second = store.create(related_runs.seeded_params(small_params, 2))
    store.create(
        related_runs.hiding_params(related_runs.seeded_params(small_params, 1), "A")
    )  # not related: it hides a label
    store.create(related_runs.seeded_params(small_params.model_copy(update={"last_stage": "prepare"}), 1))
    found = related_runs.seed_runs(run, store.runs())
    assert found == {2: second}
    assert related_runs.missing_seeds(run, found) == [1]
    second.write_status(Status(state="failed"))
    assert related_runs.missing_seeds(run, found) == [1, 2]
    again = store.create(related_runs.seeded_params(small_params, 2))
    store.create(related_runs.seeded_params(small_params, 2)).write_status(Status(state="cancelled"))
    assert related_runs.seed_runs(run, store.runs()) == {2: again}


def test_runs_over_other_counts_are_not_related(lt_home: Path, small_params: RunParams) -> None:
    store = default_store()
    run, other = store.create(small_params), store.create(related_runs.seeded_params(small_params, 1))
    store.claim_stage(run, "prepare", "before")
    store.claim_stage(other, "prepare", "after")  # a file was replaced meanwhile
    assert related_runs.seed_runs(run, store.runs()) == {}
