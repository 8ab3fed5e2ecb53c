"""Finished runs of any size without training: the tables that the pages read, written where a worker would put them."""

import time
from collections.abc import Mapping
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.demo.states import PROGRAMMES, STATES
from labeltransfer.params import UNKNOWN, RunParams, SideParams
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import CONSENSUS, METHODS, cell_table
from labeltransfer.results.trust.consensus import consensus_soft, opinion_table
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store
from labeltransfer.storage.files import write_json
from labeltransfer.storage.h5ad import write_h5ad

TECHNOLOGIES = {"reference": "Smart-seq2", "query": "10x"}
MOST_REFERENCE = 50_000
SHARE_WRONG, SHARE_UNLABELLED = 0.12, 0.04
"""Of the query: cells that are called something else than observed, and cells without an observed label."""
DENSITY = 0.08


def n_reference(n_cells: int) -> int:
    """Reference cells of a run: a quarter, at most 50,000."""
    return min(n_cells // 4, MOST_REFERENCE)


def finished_run(store: Store, n_cells: int, *, n_genes: int = 300, seed: int = 0) -> Run:
    """Write a finished run of ``n_cells`` cells, reference first.

    Labels are those of the simulated marrow, with its shares; each is a cloud on both maps, and the query's are partly
    called something else. There are no models and no latents, as in the run that ships with the app.
    """
    rng = np.random.default_rng(seed)
    params = RunParams(
        name=f"{n_cells:,} cells",
        reference=SideParams(path="reference.h5ad", technology=TECHNOLOGIES["reference"]),
        query=SideParams(path="query.h5ad", technology=TECHNOLOGIES["query"]),
    )
    run = store.create(params)
    state = _states(n_cells, rng)
    counts = _counts(state, n_genes, rng)
    obs = _obs(state, counts, rng)
    soft = _soft(state, obs, rng)
    maps = [rng.normal(size=(len(STATES), 2))[state] + 0.12 * rng.normal(size=(n_cells, 2)) for _ in range(2)]
    cells = cell_table(obs, _opinions(soft, rng), mde_scvi=maps[0], mde_scanvi=maps[1])
    for stage in ("prepare", "evaluate"):
        store.claim_stage(run, stage, run.id)
        with store.build_stage(run, stage, run.id) as folder:
            if stage == "prepare":
                adata = ad.AnnData(obs=obs, var=_var(counts), layers={"counts": counts})
                write_h5ad(adata, folder / "prepared.h5ad")
                write_json(folder / "summary.json", _summary(obs, n_genes))
            else:
                cells.to_parquet(folder / "cells.parquet")
                write_json(folder / "metrics.json", evaluate.metrics(cells))
    now = time.time()
    run.write_status(Status(state="done", created=now, started=now, finished=now))
    return run


def _opinions(soft: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Opinions that often differ, and distances of no meaning."""
    noisy = {
        name: soft if name == "scanvi" else soft * rng.uniform(0.2, 1, soft.shape).astype(np.float32)
        for name in METHODS
    }
    softs = {name: s.div(s.sum(axis=1), axis=0) for name, s in noisy.items()}
    consensus = consensus_soft(softs, dict.fromkeys(softs))
    table = opinion_table(softs | {CONSENSUS: consensus}, consensus)
    table["held_out"] = rng.random(len(soft)) < 0.1
    table["distance_percentile"] = rng.uniform(0, 100, len(soft)).astype(np.float32)
    return table


def _states(n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Place in ``STATES`` of each cell, shape (n_cells,): the reference first, each side with its own shares."""
    own = n_reference(n_cells)
    parts = []
    for n, shares in (
        (own, [state.reference_share for state in STATES]),
        (n_cells - own, [state.query_share for state in STATES]),
    ):
        parts.append(rng.choice(len(STATES), n, p=np.array(shares) / np.sum(shares)))
    return np.concatenate(parts)


def _counts(state: np.ndarray, n_genes: int, rng: np.random.Generator) -> sp.csc_matrix:
    """Counts of shape (n_cells, n_genes), CSC float32; a gene is counted more in its own states."""
    genes = []
    for gene in range(n_genes):
        mean = np.where(np.arange(len(STATES)) % 7 == gene % 7, 4, 0.5) * DENSITY
        column = rng.poisson(mean[state]).astype(np.float32)
        rows = np.flatnonzero(column)
        genes.append(sp.csc_matrix((column[rows], rows, [0, len(rows)]), shape=(len(state), 1)))
    return sp.hstack(genes, format="csc")


def _obs(state: np.ndarray, counts: sp.csc_matrix, rng: np.random.Generator) -> pd.DataFrame:
    """The table of cells as preparation leaves it, with eight columns of the input files."""
    n_cells = len(state)
    is_query = np.arange(n_cells) >= n_reference(n_cells)
    side = np.where(is_query, "query", "reference")
    technology = np.where(is_query, TECHNOLOGIES["query"], TECHNOLOGIES["reference"])
    observed = np.where(
        is_query,
        np.array([s.query_label for s in STATES], dtype=object)[state],
        np.array([s.reference_label for s in STATES], dtype=object)[state],
    )
    observed[is_query & (rng.random(n_cells) < SHARE_UNLABELLED)] = None
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel() + 1
    names = [f"{'ACGTTGCA'[i % 8]}{i:09d}-1-{side[i][0]}" for i in range(n_cells)]
    batches = rng.integers(0, 8, n_cells)
    return pd.DataFrame(
        {
            "cell_id": names,
            "side": pd.Categorical(side, categories=["reference", "query"]),
            "technology": pd.Categorical(technology, categories=list(TECHNOLOGIES.values())),
            "batch": pd.Categorical([f"{t} / {m}" for t, m in zip(technology, batches, strict=True)]),
            "observed_label": pd.Categorical(observed),
            "training_label": pd.Categorical(np.where(is_query, UNKNOWN, observed)),
            "n_counts_raw": totals,
            "n_counts": totals,
            "n_genes": np.bincount(counts.indices, minlength=n_cells).astype(np.int64),
            "obs.tissue": pd.Categorical(np.full(n_cells, "Marrow")),
            "obs.sex": pd.Categorical(np.array(["female", "male"])[rng.integers(0, 2, n_cells)]),
            "obs.age": pd.Categorical(np.array(["3m", "18m", "24m"])[rng.integers(0, 3, n_cells)]),
            "obs.mouse.id": pd.Categorical([f"mouse {m}" for m in rng.integers(0, 40, n_cells)]),
            "obs.louvain": pd.Categorical(state.astype(str)),
            "obs.barcode": pd.Categorical(names),
            "obs.percent_mito": rng.random(n_cells),
            "obs.n_genes": rng.integers(200, 5000, n_cells),
        },
        index=pd.Index(names),
    )


def _soft(state: np.ndarray, obs: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Soft predictions of shape (n_cells, n_labels): the state's label in the reference, now and then another."""
    labels = sorted({s.reference_label for s in STATES if s.reference_share})
    place = {label: i for i, label in enumerate(labels)}
    called = np.array([place.get(s.reference_label, 0) for s in STATES])[state]
    wrong = (obs["side"] == "query").to_numpy() & (rng.random(len(state)) < SHARE_WRONG)
    called[wrong] = rng.integers(0, len(labels), int(wrong.sum()))
    logits = rng.normal(size=(len(state), len(labels))).astype(np.float32)
    logits[np.arange(len(state)), called] += 6
    weights = np.exp(logits)
    return pd.DataFrame(weights / weights.sum(axis=1, keepdims=True), columns=labels, index=obs.index)


def _var(counts: sp.csc_matrix) -> pd.DataFrame:
    """The table of shared genes: markers of the marrow first, all of them chosen."""
    n_genes = counts.shape[1]
    markers = list(dict.fromkeys(gene for genes in PROGRAMMES.values() for gene in genes.split()))
    names = (markers + [f"Gene{i}" for i in range(n_genes)])[:n_genes]
    means = np.asarray(counts.mean(axis=0)).ravel()
    return pd.DataFrame(
        {
            "highly_variable": True,
            "highly_variable_rank": np.arange(n_genes, dtype=float),
            "means": means,
            "variances": np.asarray(counts.multiply(counts).mean(axis=0)).ravel() - means**2,
        },
        index=pd.Index(names),
    )


def _summary(obs: pd.DataFrame, n_genes: int) -> Mapping[str, Any]:
    """``summary.json`` of the prepare stage, as far as pages read it."""
    sides: dict[str, Any] = {}
    for side in ("reference", "query"):
        own = obs[obs["side"] == side]
        labels = own["observed_label"].value_counts()
        sides[side] = {
            "technology": TECHNOLOGIES[side],
            "n_cells_in_file": len(own),
            "n_genes_in_file": n_genes,
            "n_cells": len(own),
            "n_labelled": int(own["observed_label"].notna().sum()),
            "labels": {str(label): int(n) for label, n in labels.items() if n},
        }
    genes = {"n_reference": n_genes, "n_query": n_genes, "n_shared": n_genes, "n_chosen": n_genes}
    return {**sides, "genes": genes, "steps": ["Written by a benchmark."]}
