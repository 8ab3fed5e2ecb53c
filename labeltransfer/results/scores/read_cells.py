"""Read the table of cells, ``cells.parquet``, small and fast enough to be kept in memory for everybody who looks."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labeltransfer.results.scores.evaluate import OBS_PREFIX
from labeltransfer.storage import files

TEXT = pd.StringDtype("pyarrow")
"""Text in Arrow's own memory: a quarter of what as many Python strings take, and none of them is made on reading."""


def read_cells(path: Path) -> pd.DataFrame:
    """Read the table that :func:`.evaluate.cell_table` made, shape (n_cells, n_columns), rows numbered from 0.

    Labels, sides and batches come as categories, ``cell_id`` as ``TEXT``. A column of the input files whose values
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
        return pa.table(columns).to_pandas(types_mapper={pa.string(): TEXT}.get, split_blocks=True)


def _compact(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Text as a dictionary or as plain text; anything else as it is."""
    is_dictionary = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if is_dictionary else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    if name == "cell_id" or not column.num_chunks:
        return column.cast(pa.string())
    encoded = column if is_dictionary else pc.dictionary_encode(column)
    # The first block of rows tells: to bring a million barcodes into one dictionary takes a second, and is no use.
    first = encoded.chunk(0)
    hardly_repeats = name.startswith(OBS_PREFIX) and len(first.dictionary) > len(first) // 2
    return column.cast(pa.string()) if hardly_repeats else encoded
