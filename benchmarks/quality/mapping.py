"""Mapping onto a published reference against training on both sides: ``python -m benchmarks.quality.mapping``.

De novo is the preset Fast on reference and query together. Mapping trains the preset Atlas reference on the reference
alone, which is done once for all queries, and then maps the query; next to it is the same model without any training
on the query. With ``--genes`` genes are then taken from the query at random, as if its file lacked them.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from labeltransfer.processes import WAITING

os.environ |= WAITING  # as in the app's workers; before torch is imported

import anndata as ad
import numpy as np
import scvi
from sklearn.metrics import f1_score

from benchmarks.pairs import FILES, find_pair, load, score
from benchmarks.tables import keep, table
from labeltransfer.data.prepare.onto_reference import prepare_query
from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.models.integrate import train_scvi
from labeltransfer.models.map_onto import map_onto
from labeltransfer.models.transfer import soft_predictions, train_scanvi
from labeltransfer.params import UNKNOWN, RunParams, SideParams
from labeltransfer.presets import PRESETS

DE_NOVO, ONCE, PROJECTED, MAPPED = "de novo", "reference, trained once", "not mapped, only placed", "mapped"

SHARES = (0.8, 0.65, 0.5, 0.35)
"""Shares of the model's genes that the query is left with."""


@dataclass(frozen=True)
class Outcome:
    """Accuracy and macro-F1 over the scored query cells, and seconds from loaded counts to labels."""

    accuracy: float
    macro_f1: float
    seconds: float


def de_novo(adata: ad.AnnData, seed: int) -> Outcome:
    """Train the preset Fast on both sides."""
    began = time.perf_counter()
    model = trained(adata, "fast", seed)
    predicted = np.asarray(model.predict())
    seconds = time.perf_counter() - began
    return Outcome(*score(adata, predicted)[:2], seconds)


def trained(adata: ad.AnnData, preset: Any, seed: int) -> Any:
    """A scANVI from a scVI, both in the settings of a preset."""
    integrate, transfer = PRESETS[preset]["integrate"], PRESETS[preset]["transfer"]
    return train_scanvi(train_scvi(adata, integrate, seed=seed), transfer, seed=seed)  # type: ignore[arg-type]


def mapped(query: ad.AnnData, known: list[str], find: Callable[[ad.AnnData], Any]) -> Outcome:
    """Label a query with the model that ``find`` gives for it."""
    began = time.perf_counter()
    soft = soft_predictions(find(query))
    seconds = time.perf_counter() - began
    observed = query.obs["observed_label"].astype(object)
    judged = observed.isin(known).to_numpy()
    truth = observed[judged].astype(str).to_numpy()
    predicted = np.array(soft.columns, dtype=str)[soft.to_numpy().argmax(axis=1)][judged]
    macro = f1_score(truth, predicted, average="macro", labels=sorted(set(truth)), zero_division=0)
    return Outcome(float((predicted == truth).mean()), float(macro), seconds)


def projected(query: ad.AnnData, folder: Path) -> Any:
    """The stored model extended by the query's batches, whose weights are as they began."""
    query.obs["training_label"] = UNKNOWN
    model = scvi.model.SCANVI.load_query_data(query, str(folder), accelerator="cpu")
    model.is_trained_ = True
    return model


def learnt(query: ad.AnnData, folder: Path, seed: int) -> Any:
    """The stored model, mapped."""
    return map_onto(folder, query, seed=seed)


def without(query: ad.AnnData, share: float, seed: int) -> ad.AnnData:
    """A query that has a share of its genes, drawn at random; the others are zeros."""
    kept = np.random.default_rng(seed).permutation(query.n_vars) < share * query.n_vars
    counts = query.layers["counts"].multiply(kept[None, :]).tocsr()
    own = query.copy()
    own.layers["counts"] = counts
    return own[np.asarray(counts.sum(axis=1)).ravel() > 0].copy()


def prepared(params: RunParams, folder: Path) -> tuple[ad.AnnData, ad.AnnData]:
    """The reference alone, and the query prepared with it."""
    alone, query = folder / "reference", folder / "query"
    for place in (alone, query):
        place.mkdir()
    prepare(params.model_copy(update={"query": SideParams(path="")}), alone, report=lambda _: None)
    prepare_query(params, alone, query, report=print, progress=lambda _: None)
    return training_data(alone / "prepared.h5ad"), training_data(query / "prepared.h5ad", side="query")


def main() -> None:
    """Compare pair by pair and seed by seed, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--genes", action="store_true", help="also with genes taken from the query: four mappings more")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found: dict[str, dict[str, list[Outcome]]] = {name: {} for name in options.pairs}
    genes: dict[str, list[float]] = {}
    for seed in options.seeds:
        for name in options.pairs:
            with tempfile.TemporaryDirectory() as scratch:
                pair, folder = find_pair(name, Path(scratch)), Path(scratch) / "model"
                reference, query = prepared(pair.params(), Path(scratch))
                known = reference.obs["observed_label"].astype(str).unique().tolist()
                own = {DE_NOVO: de_novo(load(pair), seed)}
                began = time.perf_counter()
                trained(reference, "atlas", seed).save(folder)
                nowhere = float("nan")
                own[ONCE] = Outcome(nowhere, nowhere, time.perf_counter() - began)
                own[PROJECTED] = mapped(query.copy(), known, partial(projected, folder=folder))
                learn = partial(learnt, folder=folder, seed=seed)
                own[MAPPED] = mapped(query.copy(), known, learn)
                if options.genes and seed == options.seeds[0]:
                    few = [mapped(without(query, share, seed), known, learn) for share in SHARES]
                    genes[name] = [outcome.accuracy for outcome in (own[MAPPED], *few)]
            for route, outcome in own.items():
                found[name].setdefault(route, []).append(outcome)
                print(name, seed, route, outcome, flush=True)
        write(options, found, genes)  # what there is so far: the machine may be needed for something else


def summed(found: list[Outcome]) -> list[str]:
    """Means of the scores with their range, and the median of the seconds."""
    cells = []
    for name in ("accuracy", "macro_f1"):
        values = [getattr(own, name) for own in found]
        if np.isnan(values).any():
            cells.append("")
            continue
        cells.append(f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return [*cells, f"{median(own.seconds for own in found):.1f}"]


def write(
    options: argparse.Namespace, found: dict[str, dict[str, list[Outcome]]], genes: dict[str, list[float]]
) -> None:
    """Keep what there is so far."""
    lines = [[name, route, *summed(own)] for name, routes in found.items() for route, own in routes.items()]
    n_seeds = max(len(own) for routes in found.values() for own in routes.values())
    seeds = " ".join(map(str, options.seeds[:n_seeds]))
    text = (
        f"Means over seeds {seeds}, smallest and largest in brackets; seconds are medians of training and prediction, "
        f"from prepared counts.\n\n{table(['pair', 'route', 'accuracy', 'macro-F1', 'seconds'], lines)}\n"
    )
    if genes:
        header = ["pair", "all genes", *(f"{share:.0%} of them" for share in SHARES)]
        rows = [[name, *(f"{accuracy:.3f}" for accuracy in own)] for name, own in genes.items()]
        text += f"\nAccuracy where the query lacks genes (seed {options.seeds[0]}):\n\n{table(header, rows)}\n"
    more = " --genes" if options.genes else ""
    command = f"python -m benchmarks.quality.mapping --pairs {' '.join(options.pairs)} --seeds {seeds}{more}"
    keep("Mapping onto a published reference", command, text)


if __name__ == "__main__":
    main()
