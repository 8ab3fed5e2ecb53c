"""From two files to ``prepared.h5ad``: filtered, brought to integer counts over shared genes, joined, genes chosen."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.genes import choose_genes, shared_genes
from labeltransfer.data.sides import SideCells, check_labels, read_side
from labeltransfer.data.words import counted
from labeltransfer.errors import SettingsError
from labeltransfer.h5ad import write_h5ad
from labeltransfer.home import write_json
from labeltransfer.params import UNKNOWN, RunParams, Side

SIDES: tuple[Side, Side] = ("reference", "query")


def prepare(params: RunParams, folder: Path, *, report: Callable[[str], None]) -> None:
    """Carry out the first stage of a run.

    Writes ``prepared.h5ad`` (see ``prepared``) and ``summary.json``, which holds plain counts of what was used and what
    was left out on the ``reference``, the ``query`` and among the ``genes``, and as ``steps`` all that was reported.

    Parameters
    ----------
    params
        Settings of the run; those of ``reference``, ``query`` and ``prepare`` are used.
    folder
        Where the two files go.
    report
        Called with a plain sentence at each step.

    Raises
    ------
    InputError
        A file cannot be used as it is.
    SettingsError
        The settings leave too little, or name what is not there.
    """
    steps: list[str] = []

    def tell(sentence: str) -> None:
        steps.append(sentence)
        report(sentence)

    reference, query = (
        read_side(
            params.reference if side == "reference" else params.query,
            side,
            normalise=params.prepare.length_normalize == side,
            length_table=params.prepare.gene_lengths,
            report=tell,
        )
        for side in SIDES
    )
    genes = shared_genes(reference.genes, query.genes)
    tell(
        f"{len(genes):,} genes are shared; {len(reference.genes) - len(genes):,} of the reference and "
        f"{len(query.genes) - len(genes):,} of the query are left out."
    )
    lengths = reference.gene_lengths if reference.gene_lengths is not None else query.gene_lengths
    tallies: dict[str, dict[str, Any]] = {
        "reference": reference.tally,
        "query": query.tally,
        "genes": {
            "n_reference": len(reference.genes),
            "n_query": len(query.genes),
            "n_shared": len(genes),
            "n_only_reference": len(reference.genes) - len(genes),
            "n_only_query": len(query.genes) - len(genes),
        },
    }
    obs, counts = join(reference, query, genes, params, tell)
    del reference, query  # their counts are as large as the joined ones

    groups = {
        "technology": obs["technology"],
        "batch": obs["batch"],
        "none": pd.Series("all", index=obs.index),
    }[params.prepare.hvg_batch]
    var = choose_genes(
        counts,
        genes,
        groups,
        n_top_genes=params.prepare.n_top_genes,
        hvg_batch=params.prepare.hvg_batch,
        report=tell,
    )
    var["gene_length"] = np.nan if lengths is None else lengths.reindex(genes).to_numpy()
    tallies["genes"] |= {"n_chosen": int(var["highly_variable"].sum())}
    for side in SIDES:
        tallies[side] |= _side_summary(obs[obs["side"] == side])

    prepared = ad.AnnData(obs=obs, var=var, layers={"counts": counts.tocsc()})
    write_h5ad(prepared, folder / "prepared.h5ad")
    write_json(folder / "summary.json", {**tallies, "steps": steps})


def join(
    reference: SideCells, query: SideCells, genes: pd.Index, params: RunParams, report: Callable[[str], None]
) -> tuple[pd.DataFrame, sp.csr_matrix]:
    """Stack both sides over the shared genes, reference first; cells without any count there are left out.

    Returns
    -------
    The table of cells (see ``prepared``), indexed by unique name, and counts of shape (n_cells, n_genes), CSR float32.

    Raises
    ------
    SettingsError
        No cell of a side, or fewer than 2 labels of the reference, have counts in shared genes.
    """
    technologies = _technologies(params, report)
    tables, matrices = [], []
    for cells, settings in ((reference, params.reference), (query, params.query)):
        counts = cells.counts[:, cells.genes.get_indexer(genes)]
        n_counts = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        kept = n_counts > 0
        cells.tally["n_empty_left_out"] = int((~kept).sum())
        if not kept.all():
            n_empty = counted(cells.tally["n_empty_left_out"], "cell")
            report(f"Left out of the {cells.side}: {n_empty} without a count in the shared genes.")
            counts = counts[kept]
        if not kept.any():
            raise SettingsError(
                f"No cell of the {cells.side} has a count in the {len(genes):,} shared genes: choose other raw counts."
            )
        if cells.side == "reference":
            check_labels(cells.labels[kept], settings)
        tables.append(_cell_table(cells, kept, technologies[cells.side], n_counts[kept], np.diff(counts.indptr)))
        matrices.append(counts)

    obs = pd.concat(tables)
    obs.index = _unique_names(*(table["cell_id"] for table in tables), report=report)
    for name in obs.columns[obs.columns.str.startswith("obs.")]:
        obs[name] = _storable(obs[name])
    obs["training_label"] = obs["observed_label"].where(obs["side"] == "reference", UNKNOWN)
    for name in ("side", "technology", "batch"):  # the reference's first, in charts and in the models
        obs[name] = pd.Categorical(obs[name], categories=obs[name].unique())
    for name in ("observed_label", "training_label"):
        obs[name] = obs[name].astype("category")
    return obs, sp.vstack(matrices, format="csr", dtype=np.float32)


def _technologies(params: RunParams, report: Callable[[str], None]) -> dict[Side, str]:
    """Name of each side's technology; never the same, since each side has its own batch effect."""
    names: dict[Side, str] = {
        "reference": params.reference.technology.strip() or "reference",
        "query": params.query.technology.strip() or "query",
    }
    if names["reference"] == names["query"]:
        report(f"Both sides are {names['query']}; they are told apart as two batches all the same.")
        names = {side: f"{name} ({side})" for side, name in names.items()}
    return names


def _cell_table(
    cells: SideCells, kept: np.ndarray, technology: str, n_counts: np.ndarray, n_genes: np.ndarray
) -> pd.DataFrame:
    """Table of one side's kept cells; ``kept`` has shape (n_cells,), the counts those of the kept cells."""
    own = cells.obs[kept]
    batches = [technology] * len(own) if cells.batches is None else [f"{technology} / {b}" for b in cells.batches[kept]]
    columns: dict[str, Any] = {
        "cell_id": own.index.astype(str).to_numpy(dtype=object),
        "side": cells.side,
        "technology": technology,
        "batch": batches,
        "observed_label": cells.labels[kept],
        "n_counts_raw": cells.n_counts_raw[kept],
        "n_counts": n_counts,
        "n_genes": n_genes.astype(np.int64),
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
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        own_name = name
        while seen[name] and own_name in taken:
            own_name = f"{name}-{seen[name]}"
            seen[name] += 1
        seen[name] += 1 if own_name == name else 0
        taken.add(own_name)
        unique.append(own_name)
    return pd.Index(unique)


def _side_summary(obs: pd.DataFrame) -> dict[str, Any]:
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
