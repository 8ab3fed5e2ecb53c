"""The tree of a run's labels, from columns of the reference or from the Cell Ontology."""

import pandas as pd
import pytest

from labeltransfer.errors import SettingsError
from labeltransfer.results.ontology.terms import find_all
from labeltransfer.runs.worker.label_tree import check_levels, label_tree

LABELS = ["B", "T_CD4", "T_CD8"]


def cells() -> pd.DataFrame:
    """A reference with coarser labels, and a query that calls them otherwise."""
    return pd.DataFrame(
        {
            "side": ["reference"] * 4 + ["query"] * 2,
            "observed_label": pd.Categorical(["T_CD4", "T_CD8", "B", None, "T_CD4", "B"]),
            "obs.level_one": ["T", "T", "B lineage", "T", "x", "x"],
            "obs.donor": ["1", "2", "2", "1", None, None],
            "obs.mixed": ["T", "other", "other", None, None, None],
        }
    )


def test_columns_of_the_reference_go_before_the_ontology() -> None:
    tree = label_tree(cells(), LABELS, ["level/one"], find_all(LABELS))  # a slash is stored as a line
    assert tree.levels == ("level/one", "label") and set(tree.names[0]) == {"B lineage", "T"}
    families = label_tree(cells(), LABELS, [], find_all(LABELS))
    assert "T cell > T_CD8" in {families.path(i) for i in range(1, len(families.nodes))}


def test_columns_that_are_no_levels_are_refused_before_the_training() -> None:
    check_levels(cells(), [])
    check_levels(cells(), ["level/one"])
    with pytest.raises(SettingsError, match="no obs column 'lineage'"):
        check_levels(cells(), ["lineage"])
    with pytest.raises(SettingsError, match="has two parents at the level"):
        check_levels(cells(), ["level/one", "mixed"])
    twice = cells().assign(observed_label=pd.Series(["T_CD4", "T_CD4", "B", None, None, None], dtype=object))
    with pytest.raises(SettingsError, match="the label 'T_CD4' has 2 parents"):
        check_levels(twice, ["donor"])
