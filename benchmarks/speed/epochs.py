"""Seconds per epoch of the fast loop against plain scvi-tools: ``python -m benchmarks.speed.epochs`` (ten minutes).

Both train the same model on the same cells in the same process, in turn, several times. ``--accelerator gpu`` does so
on a GPU. ``--pair marrow`` is the simulated pair at the tutorial's size. OpenMP's threads spin while they wait, as
is the default for scvi-tools: where nothing else runs, torch's own threads, the plain route's, are faster so.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import scvi
import torch

from benchmarks.pairs import PAIRS, find_pair, load, split
from benchmarks.tables import keep, spread, table
from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.loop import train
from labeltransfer.models.fast.tasks import ScanviTask, ScviTask
from labeltransfer.models.fit import to_accelerator
from labeltransfer.params import UNKNOWN
from labeltransfer.presets import Pace


def timed(action: Callable[[], Any]) -> float:
    """Seconds that an action takes, the device's work included."""
    began = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def new_scvi(adata: ad.AnnData, *, seed: int = 0) -> scvi.model.SCVI:
    """An untrained scVI with the tutorial's architecture."""
    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    return scvi.model.SCVI(adata, n_layers=2, n_latent=30)


def contenders(
    adata: ad.AnnData, accelerator: str, batch_size: int
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]]:
    """By model: an epoch of ours in scvi-tools' steps of 128 cells, of ours in larger steps, and of plain scvi-tools.

    The plain ones have no validation, as scvi-tools leaves it out unless asked; ours have it, as in every run.
    """
    rows = split(adata)
    plain_settings: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": accelerator,
        "devices": 1,
        "enable_progress_bar": False,
        "batch_size": 128,
        "datasplitter_kwargs": {"external_indexing": rows},
    }
    vae = new_scvi(adata)
    vae.is_trained_ = True
    lvae = scvi.model.SCANVI.from_scvi_model(vae, labels_key="training_label", unlabeled_category=UNKNOWN)
    vae.is_trained_ = False

    def ours(model: Any, make: Callable[[Any, DeviceCounts], Any], size: int) -> Callable[[], Any]:
        to_accelerator(model, accelerator)
        task = make(model.module, DeviceCounts.of_model(model))
        return lambda: (model.to_device(task.cells.labels.device), train(task, Pace(1, size, 1e-3, kl_warmup=400)))

    def scvi_task(module: Any, cells: DeviceCounts) -> ScviTask:
        return ScviTask(module, cells, rows[0], rows[1])

    def scanvi_task(module: Any, cells: DeviceCounts) -> ScanviTask:
        return ScanviTask(module, cells, rows[0], rows[1], n_samples_per_label=100)

    return {
        "scVI": (
            ours(vae, scvi_task, 128),
            ours(vae, scvi_task, batch_size),
            lambda: vae.train(**plain_settings),
        ),
        "scANVI": (
            ours(lvae, scanvi_task, 128),
            ours(lvae, scanvi_task, batch_size),
            lambda: lvae.train(**plain_settings, n_samples_per_label=100),
        ),
    }


def main() -> None:
    """Time in turn, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", choices=PAIRS, default="marrow")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=512, help="cells per step of ours, besides 128")
    parser.add_argument("--accelerator", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 leaves them to it")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    scvi.settings.verbosity = logging.WARNING
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        adata = load(find_pair(options.pair, Path(scratch)))
    header = ["model", "cells per step", "ours, s", "plain (128), s", "ratio"]
    lines = []
    for model, actions in contenders(adata, options.accelerator, options.batch_size).items():
        same, larger, plain = actions
        for action in actions:  # the first time also loads and compiles
            action()
        seconds = [tuple(map(timed, (same, plain, larger))) for _ in range(options.repeats)]
        for size, column in ((128, 0), (options.batch_size, 2)):
            ratios = [row[1] / row[column] for row in seconds]
            own, others = [row[column] for row in seconds], [row[1] for row in seconds]
            lines.append([model, size, spread(own), spread(others), spread(ratios, ".1f") + " ×"])
    size = f"{adata.n_obs:,} cells × {adata.n_vars:,} genes, {torch.get_num_threads()} threads"
    about = f"Median and spread of {options.repeats} epochs of each, in turn, of the {options.pair} pair ({size})."
    where = "" if options.accelerator == "cpu" else " on a GPU"
    command = f"python -m benchmarks.speed.epochs --pair {options.pair} --accelerator {options.accelerator}"
    keep(f"Seconds per epoch{where}", command, f"{about}\n\n{table(header, lines)}")


if __name__ == "__main__":
    main()
