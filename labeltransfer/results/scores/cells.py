"""The table of cells: everything that a page or a CSV shows of a cell, one row each; made, stored and read.

Reading ``cells.parquet`` is fast and its table small, so that the app keeps it in memory for all who look at a run.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labeltransfer.classifiers import VOTERS
from labeltransfer.storage import files

OBS_PREFIX = "obs."
"""Prefix of the columns that come from the input files."""

METHODS = {"scanvi": "scANVI"} | {voter.name: voter.title for voter in VOTERS}
"""Names of the methods that label cells, by the prefix of their columns, such as ``scanvi_label``."""

CONSENSUS = "consensus"

_KEPT = ["cell_id", "side", "technology", "batch", "observed_label"]

TEXT = pd.StringDtype("pyarrow")
"""Text in Arrow's own memory: a quarter of what as many Python strings take, and none of them is made on reading."""


def cell_table(
    obs: pd.DataFrame,
    opinions: pd.DataFrame,
    *,
    mde_scvi: np.ndarray | None,
    mde_scanvi: np.ndarray,
) -> pd.DataFrame:
    """Put together the table of cells.

    Parameters
    ----------
    obs
        Cells of the prepared table, n_cells rows, index of unique cell names.
    opinions
        The label that is handed out, and those of all methods, n_cells rows in the order of ``obs``; see
        :func:`.consensus.opinion_table`.
    mde_scvi, mde_scanvi
        Maps of the two latents, each of shape (n_cells, 2); a run that was mapped has none of scVI's.

    Returns
    -------
    One row a cell, in the order of ``obs``: what was known, ``opinions``, counts, whether the models were trained on
    the cell (``trained_on``), the coordinates of both maps, and the columns of the input files as ``obs.NAME``.
    """
    n_cells = len(obs)
    maps = {name: mde for name, mde in (("scvi", mde_scvi), ("scanvi", mde_scanvi)) if mde is not None}
    if len(opinions) != n_cells or {mde.shape for mde in maps.values()} != {(n_cells, 2)}:
        raise ValueError(
            f"{n_cells} cells, but {len(opinions)} opinions and maps of shapes "
            f"{' and '.join(str(mde.shape) for mde in maps.values())}"
        )
    cells = obs[_KEPT].copy()
    cells["observed_label"] = as_categorical(obs["observed_label"])
    for name in opinions.columns:  # by position: the index of one is names, of the other numbers
        cells[name] = opinions[name].array
    cells["n_counts"] = obs["n_counts"]
    cells["n_genes"] = obs["n_genes"]
    cells["trained_on"] = obs["trained_on"].to_numpy(bool) if "trained_on" in obs else True
    for name, mde in maps.items():
        cells[f"{name}_1"], cells[f"{name}_2"] = mde[:, 0].astype(np.float32), mde[:, 1].astype(np.float32)
    inputs = [column for column in obs.columns if column.startswith(OBS_PREFIX)]
    return pd.concat([cells, obs[inputs]], axis=1)


def as_categorical(labels: pd.Series) -> pd.Series:
    """Labels as categories of text in alphabetical order, without those that no cell has."""
    text = labels.astype(object).where(labels.notna())
    text = text.map(lambda label: str(label), na_action="ignore")
    return pd.Series(pd.Categorical(text, sorted(text.dropna().unique())), index=labels.index, name=labels.name)


def codes_among(labels: pd.Series, names: Sequence[str]) -> np.ndarray:
    """Place of each label in ``names``, array of shape (n_cells,); -1 where it has none.

    Categories are looked up, not cells: a million take milliseconds.
    """
    text = labels.astype("category").cat
    place = np.append(pd.Index(names).get_indexer(pd.Index(text.categories.astype(str))), -1)
    return place[text.codes.to_numpy()]


def read_cells(path: Path) -> pd.DataFrame:
    """Read the table that :func:`cell_table` made, shape (n_cells, n_columns), rows numbered from 0.

    Runs of older versions handed scANVI's label out, and did not repeat it as ``scanvi_label``: here they do.

    Labels, sides and batches are categories, ``cell_id`` as ``TEXT``. A column of the input files whose values
    hardly repeat, such as barcodes, is ``TEXT`` too, for each slice of categories drags all of them along.

    Raises
    ------
    RunError
        The file is damaged.
    """
    with files.reading(path):
        schema = pq.read_schema(path)
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        table = pq.read_table(path, columns=[name for name in schema.names if name not in index])
        columns = {name: _compact(table[name], name) for name in table.column_names}
        cells = pa.table(columns).to_pandas(types_mapper={pa.string(): TEXT}.get, split_blocks=True)
    if "scanvi_label" not in cells:
        cells["scanvi_label"], cells["scanvi_confidence"] = cells["predicted_label"], cells.get("confidence")
    return cells


def _compact(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Text as a dictionary or as plain text; anything else as it is."""
    is_dictionary = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if is_dictionary else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    if name == "cell_id" or not column.num_chunks:
        return column.cast(pa.string())
    encoded = column if is_dictionary else pc.dictionary_encode(column)
    # The first block of rows is enough: to bring a million barcodes into one dictionary takes a second, and is no use.
    first = encoded.chunk(0)
    hardly_repeats = name.startswith(OBS_PREFIX) and len(first.dictionary) > len(first) // 2
    return column.cast(pa.string()) if hardly_repeats else encoded
