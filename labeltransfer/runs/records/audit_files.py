"""The files of a run's label audit: ``audit.parquet`` for the pages, exact, and ``audit.csv`` for people."""

from pathlib import Path

import pandas as pd

from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.storage import files


def write_audit(folder: Path, table: pd.DataFrame) -> None:
    """Write the audit in both forms; the CSV is safe to open in a spreadsheet."""
    table.to_parquet(folder / "audit.parquet", index=False)
    files.write_atomic(folder / "audit.csv", to_csv(table))


def read_audit(path: Path) -> pd.DataFrame:
    """Read ``audit.parquet``; raises RunError where it is damaged."""
    with files.reading(path):
        return pd.read_parquet(path)
