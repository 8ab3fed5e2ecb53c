"""The table of the cells of both sides, as ``prepared.h5ad`` keeps it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pandas as pd

from labeltransfer.data.prepare.side_counts import CellTotals
from labeltransfer.data.prepare.sides import SideCells, check_labels
from labeltransfer.params import UNKNOWN, RunParams, Side

SIDES: tuple[Side, Side] = ("reference", "query")


def join(
    sides: dict[Side, tuple[SideCells, CellTotals]],
    params: RunParams,
    report: Callable[[str], None],
    *,
    kept: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Stack the kept cells of both sides, reference first, indexed by unique name.

    Parameters
    ----------
    sides
        What was read, reference first; a reference alone, or a query alone together with ``kept``.
    params
        Settings of the run.
    report
        Called with a sentence for each thing that was noticed.
    kept
        Table of a reference that was prepared before, as this function gave it.

    Raises
    ------
    SettingsError
        Fewer than 2 labels of the reference have counts in shared genes.
    """
    technologies = _technologies(params, report)
    if "reference" in sides:
        cells, totals = sides["reference"]
        check_labels(cells.labels[totals.kept], params.reference)
    before = [] if kept is None else [kept]
    obs = pd.concat([*before, *(_cell_table(*found, technologies[side]) for side, found in sides.items())])
    obs.index = _unique_names(*(obs.loc[obs["side"] == side, "cell_id"] for side in SIDES), report=report)
    for name in obs.columns[obs.columns.str.startswith("obs.")]:
        obs[name] = _storable(obs[name])
    obs["training_label"] = obs["observed_label"].where(obs["side"] == "reference", UNKNOWN)
    for name in ("side", "technology", "batch"):  # the reference's first, in charts and in the models
        obs[name] = pd.Categorical(obs[name], categories=obs[name].unique())
    for name in ("observed_label", "training_label"):
        obs[name] = obs[name].astype("category")
    return obs


def _technologies(params: RunParams, report: Callable[[str], None]) -> dict[Side, str]:
    """Name of each side's technology; never the same, since each side has its own batch effect."""
    names: dict[Side, str] = {
        "reference": params.reference.technology.strip() or "reference",
        "query": params.query.technology.strip() or "query",
    }
    if names["reference"] == names["query"]:
        report(f"Both sides are {names['query']}; they are two batches all the same.")
        names = {side: f"{name} ({side})" for side, name in names.items()}
    return names


def _cell_table(cells: SideCells, totals: CellTotals, technology: str) -> pd.DataFrame:
    """Table of one side's kept cells."""
    kept = totals.kept
    own = cells.obs[kept]
    batches = [technology] * len(own) if cells.batches is None else [f"{technology} / {b}" for b in cells.batches[kept]]
    columns: dict[str, Any] = {
        "cell_id": own.index.astype(str).to_numpy(dtype=object),
        "side": cells.side,
        "technology": technology,
        "batch": batches,
        "observed_label": cells.labels[kept],
        "n_counts_raw": totals.n_counts_raw,
        "n_counts": totals.n_counts,
        "n_genes": totals.n_genes,
    }
    for name, column in own.items():
        key = f"obs.{name}".replace("/", "_")  # a slash would be read as a folder inside the h5ad file
        while key in columns:
            key += "_"
        columns[key] = column.astype(object).array if isinstance(column.dtype, pd.CategoricalDtype) else column.array
    return pd.DataFrame(columns, index=range(len(own)))


def _storable(column: pd.Series) -> pd.Series:
    """A column that h5ad can hold: numbers and booleans as they are, anything else as categories that are strings."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return column
    return column.astype(object).map(str, na_action="ignore").astype("category")


def _unique_names(reference: pd.Series, query: pd.Series, *, report: Callable[[str], None]) -> pd.Index:
    """Unique cell names: a repeated one gets a number, one that both sides have gets its side."""
    clash = set(reference) & set(query)
    names = []
    for side, own in zip(SIDES, (reference, query), strict=True):
        n_repeated = int(own.duplicated().sum())
        if n_repeated:
            report(f"Repeated cell names in the {side}: {n_repeated:,}; a number behind the name tells them apart.")
        names += [f"{name}-{side}" if name in clash else name for name in own]
    if clash:
        report(f"Cell names on both sides: {len(clash):,}; '-reference' and '-query' behind the name tell them apart.")
    taken = set(names)
    if len(taken) == len(names):
        return pd.Index(names)
    n_seen: Counter[str] = Counter()
    unique = []
    for name in names:
        own_name = name
        while n_seen[name] and own_name in taken:
            own_name = f"{name}-{n_seen[name]}"
            n_seen[name] += 1
        n_seen[name] += 1 if own_name == name else 0
        taken.add(own_name)
        unique.append(own_name)
    return pd.Index(unique)


def side_summary(obs: pd.DataFrame) -> dict[str, Any]:
    """What is used of one side, as plain numbers."""
    labels = obs["observed_label"].value_counts()
    return {
        "technology": str(obs["technology"].iloc[0]),
        "n_cells": len(obs),
        "n_labelled": int(obs["observed_label"].notna().sum()),
        "labels": {str(label): int(n) for label, n in labels.items() if n},
        "batches": {str(batch): int(n) for batch, n in obs["batch"].value_counts().items() if n},
        "median_counts_raw": float(obs["n_counts_raw"].median()),
        "median_counts": float(obs["n_counts"].median()),
        "median_genes": float(obs["n_genes"].median()),
    }
