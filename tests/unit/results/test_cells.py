"""The table of cells, as pages read it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeltransfer.results.scores.cells import TEXT, read_cells


@pytest.fixture
def table() -> pd.DataFrame:
    n_cells = 40
    observed = pd.Series(["B", "T", None, "NK"] * 10, dtype=object)
    return pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(n_cells)],
            "side": pd.Categorical(["reference", "query"] * 20),
            "observed_label": pd.Categorical(observed),
            "predicted_label": pd.Categorical(["B"] * n_cells, categories=["B", "T"]),
            "scanvi_label": pd.Categorical(["T"] * n_cells, categories=["B", "T"]),
            "confidence": np.linspace(0, 1, n_cells, dtype=np.float32),
            "obs.sex": ["female", "male"] * 20,
            "obs.barcode": pd.Categorical([f"ACGT{i}" for i in range(n_cells)]),
            "obs.passed": [True, False] * 20,
            "obs.age": [3, 18] * 20,
        },
        index=[f"unique{i}" for i in range(n_cells)],
    )


@pytest.fixture
def read(table: pd.DataFrame, tmp_path: Path) -> pd.DataFrame:
    table.to_parquet(tmp_path / "cells.parquet", row_group_size=15)
    return read_cells(tmp_path / "cells.parquet")


def test_a_table_from_before_the_consensus_has_scanvis_label_as_the_predicted_one(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    table.drop(columns="scanvi_label").to_parquet(tmp_path / "cells.parquet")
    old = read_cells(tmp_path / "cells.parquet")
    assert old["scanvi_label"].equals(old["predicted_label"])
    assert old["scanvi_confidence"].equals(old["confidence"])


def test_every_value_is_as_it_was_written(table: pd.DataFrame, read: pd.DataFrame) -> None:
    assert list(read.columns) == list(table.columns)
    for name in table.columns:
        before, after = table[name].astype(object).to_numpy(), read[name].astype(object).to_numpy()
        missing = pd.isna(before)
        assert np.array_equal(missing, pd.isna(after)), name
        assert np.array_equal(before[~missing], after[~missing]), name


def test_labels_are_categories_however_few_the_cells_and_ids_are_text(read: pd.DataFrame, tmp_path: Path) -> None:
    assert {str(read[name].dtype) for name in ("side", "observed_label", "predicted_label")} == {"category"}
    assert read["cell_id"].dtype == TEXT
    read.head(2).to_parquet(tmp_path / "two.parquet")
    assert str(read_cells(tmp_path / "two.parquet")["observed_label"].dtype) == "category"


def test_own_columns_are_categories_where_values_repeat_and_text_where_not(read: pd.DataFrame) -> None:
    assert str(read["obs.sex"].dtype) == "category"
    assert read["obs.barcode"].dtype == TEXT


def test_rows_are_numbered_from_0(read: pd.DataFrame) -> None:
    assert list(read.index) == list(range(40))
