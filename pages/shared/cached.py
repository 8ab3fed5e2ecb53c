"""Readers of a run's files, kept in memory; a file that changes is read anew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.data import prepared
from labeltransfer.results import evaluate, figures
from labeltransfer.runs.run import Run


def cells(run: Run) -> pd.DataFrame:
    """The table of cells of a finished run; text columns with few values come as categories."""
    return _cells(*_stamp(run.artefact("evaluate", "cells.parquet")))


def metrics(run: Run) -> dict[str, Any]:
    """Scores of a finished run."""
    return _json(*_stamp(run.artefact("evaluate", "metrics.json")))


def summary(run: Run) -> dict[str, Any]:
    """What preparation did, in plain counts."""
    return _json(*_stamp(run.artefact("prepare", "summary.json")))


def genes(run: Run) -> pd.DataFrame:
    """Table of the shared genes, index of gene names."""
    return _genes(*_stamp(run.artefact("prepare", "prepared.h5ad")))


def expression(run: Run, gene: str) -> np.ndarray:
    """Log-normalised expression of one gene, array of shape (n_cells,)."""
    return _expression(*_stamp(run.artefact("prepare", "prepared.h5ad")), gene)


def colours(run: Run) -> dict[str, str]:
    """Colour of every label of a run, observed or predicted."""
    return _colours(*_stamp(run.artefact("evaluate", "cells.parquet")))


def _stamp(path: Path) -> tuple[str, int]:
    return str(path), path.stat().st_mtime_ns


@st.cache_data(max_entries=8, show_spinner=False)
def _cells(path: str, mtime: int) -> pd.DataFrame:
    table = pd.read_parquet(path)
    # Copies of the cached table are made at each rerun: categories copy many times faster than text.
    for name in table.columns:
        if table[name].dtype == object and name != "cell_id" and table[name].nunique() <= len(table) // 2:
            table[name] = table[name].astype("category")
    return table


@st.cache_data(max_entries=32, show_spinner=False)
def _json(path: str, mtime: int) -> dict[str, Any]:
    return json.loads(Path(path).read_text())


@st.cache_data(max_entries=4, show_spinner=False)
def _genes(path: str, mtime: int) -> pd.DataFrame:
    return prepared.read_genes(Path(path))


@st.cache_data(max_entries=64, show_spinner=False)
def _expression(path: str, mtime: int, gene: str) -> np.ndarray:
    return prepared.expression(Path(path), gene)


@st.cache_data(max_entries=16, show_spinner=False)
def _colours(path: str, mtime: int) -> dict[str, str]:
    table = _cells(path, mtime)
    observed = set(table["observed_label"].dropna().astype(str))
    return figures.label_colours(
        observed | set(table["predicted_label"].astype(str)) | set(evaluate.reference_labels(table))
    )
