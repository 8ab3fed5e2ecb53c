"""Time to the same held-out quality, the preset Fast against plain scvi-tools.

``python -m benchmarks.quality.time_to_quality``. Both train scVI and scANVI on the same cells of the same split with
the same seed, in turn, in one process. The plain route has the tutorial's settings: 400 epochs of scVI, 20 of
scANVI; OpenMP's threads spin while they wait, as it has
them by default, which suits it best where nothing else runs. For the real pairs it takes ten minutes with three seeds.
With ``--plain estimated`` (meant for ``--pairs marrow``, where 400 plain epochs take a quarter of an hour to an hour)
its seconds are those of a few of its epochs, times 400 and 20, and its quality comes from as many epochs with its own
settings in the fast loop, whose objective and gradients are the same to single precision
(``tests/unit/models/test_fast_loop.py``).
"""

import argparse
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import anndata as ad
import numpy as np
import scvi
import torch

from benchmarks.pairs import PAIRS, find_pair, load, score, split
from benchmarks.speed.epochs import new_scvi, timed
from benchmarks.tables import keep, spread, table
from labeltransfer.models.fast.device_counts import DeviceCounts
from labeltransfer.models.fast.tasks import negative_elbo
from labeltransfer.models.integrate import train_scvi
from labeltransfer.models.progress import Epoch, ProgressCallback
from labeltransfer.models.transfer import train_scanvi
from labeltransfer.params import UNKNOWN, IntegrateParams, TransferParams
from labeltransfer.presets import PRESETS, scvi_epochs

TIMED_EPOCHS = 3
FORMS = {"elbo": ".1f", "accuracy": ".3f", "macro_f1": ".3f"}


@dataclass(frozen=True)
class Outcome:
    """What a route reached: negative ELBO of held-out cells, accuracy and macro-F1 of the query, seconds of both."""

    elbo: float
    accuracy: float
    macro_f1: float
    scvi_seconds: float
    scanvi_seconds: float
    epochs: tuple[Epoch, ...] = ()

    @property
    def seconds(self) -> float:
        return self.scvi_seconds + self.scanvi_seconds

    def seconds_to(self, elbo: float) -> float:
        """Seconds of scVI until the held-out cells first had this negative ELBO, or infinity, and all of scANVI's."""
        total = 0.0
        for epoch in self.epochs:
            total += epoch.seconds
            if epoch.validation_loss is not None and epoch.validation_loss <= elbo:
                return total + self.scanvi_seconds
        return float("inf")


def judge(adata: ad.AnnData, vae: Any, lvae: Any, rows: list[np.ndarray]) -> tuple[float, float, float]:
    """Held-out negative ELBO of scVI, accuracy and macro-F1 of scANVI."""
    elbo = negative_elbo(vae.module, DeviceCounts.of_model(vae), torch.from_numpy(rows[1]))
    accuracy, macro_f1, _ = score(adata, np.asarray(lvae.predict()))
    return elbo, accuracy, macro_f1


def ours(adata: ad.AnnData, integrate: Any, transfer: Any, seed: int) -> Outcome:
    """The app's own route, with the given settings."""
    epochs: list[Epoch] = []
    began = time.perf_counter()
    vae = train_scvi(adata, integrate, seed=seed, callback=ProgressCallback(epochs.append, lambda _: None))
    between = time.perf_counter()
    lvae = train_scanvi(vae, transfer, seed=seed)
    ended = time.perf_counter()
    rows = [vae.train_indices, vae.validation_indices]
    return Outcome(*judge(adata, vae, lvae, rows), between - began, ended - between, tuple(epochs))


def plain(adata: ad.AnnData, seed: int, *, epochs: tuple[int, int]) -> Outcome:
    """scvi-tools' own route."""
    rows = split(adata, seed)
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "datasplitter_kwargs": {"external_indexing": rows},
    }
    vae = new_scvi(adata, seed=seed)
    scvi_seconds = timed(lambda: vae.train(max_epochs=epochs[0], **settings))
    scvi.settings.seed = seed
    lvae = scvi.model.SCANVI.from_scvi_model(vae, labels_key="training_label", unlabeled_category=UNKNOWN)
    n_samples = samples_per_label(adata.obs["training_label"].to_numpy(dtype=object)[rows[0]])
    scanvi_seconds = timed(lambda: lvae.train(max_epochs=epochs[1], n_samples_per_label=n_samples, **settings))
    return Outcome(*judge(adata, vae, lvae, rows), scvi_seconds, scanvi_seconds)


def samples_per_label(labels: np.ndarray, *, n_samples: int = 100, batch_size: int = 128) -> int:
    """Labelled cells of each label an epoch: one fewer where scvi-tools would end with a step of one cell, and fail."""
    _, sizes = np.unique(labels[labels != UNKNOWN], return_counts=True)
    alone = np.minimum(sizes, n_samples).sum() % batch_size == 1
    return n_samples - 1 if alone else n_samples


def estimated(adata: ad.AnnData, seed: int, *, epochs: tuple[int, int]) -> Outcome:
    """The plain route's quality from its settings in the fast loop, its seconds from a few of its own epochs."""
    reached = ours(
        adata,
        IntegrateParams(loop="fast", max_epochs=epochs[0]),
        TransferParams(loop="fast", max_epochs=epochs[1], stratified_split=True),
        seed,
    )
    timing = plain(adata, seed, epochs=(TIMED_EPOCHS, TIMED_EPOCHS))
    seconds = (timing.scvi_seconds * epochs[0] / TIMED_EPOCHS, timing.scanvi_seconds * epochs[1] / TIMED_EPOCHS)
    return replace(reached, scvi_seconds=seconds[0], scanvi_seconds=seconds[1], epochs=())


def main() -> None:
    """Compare pair by pair and seed by seed, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=["pbmc", "baron"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plain", choices=["measured", "estimated"], default="measured")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    scvi.settings.verbosity = logging.WARNING
    route = plain if options.plain == "measured" else estimated
    fast = PRESETS["fast"]
    header = ["pair", "seed", "negative ELBO: ours", "plain", "accuracy: ours", "plain", "macro-F1: ours", "plain"]
    header += ["seconds: ours", "to plain's ELBO", "plain", "ratio"]
    lines: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for pair in options.pairs:
            adata = load(find_pair(pair, Path(scratch)))
            epochs = (scvi_epochs(IntegrateParams(), n_cells=adata.n_obs), 20)
            found: list[tuple[Outcome, Outcome]] = []
            for seed in options.seeds:
                own, other = ours(adata, fast["integrate"], fast["transfer"], seed), route(adata, seed, epochs=epochs)
                found.append((own, other))
                lines.append([pair, seed, *compared(own, other)])
                print(lines[-1], flush=True)
            lines.append([f"**{pair}**", "mean", *averaged(found)])
            where = "" if options.plain == "measured" else ", plain estimated"
            command = f"python -m benchmarks.quality.time_to_quality --pairs {' '.join(options.pairs)}"
            command += f" --plain {options.plain}"
            keep(f"Time to the same held-out quality{where}", command, table(header, lines))


def compared(own: Outcome, other: Outcome) -> list[str]:
    """Both routes side by side, as the cells of a row."""
    values = [(f"{getattr(o, name):{form}}") for name, form in FORMS.items() for o in (own, other)]
    first = own.seconds_to(other.elbo * 1.002)
    return [
        *values,
        f"{own.seconds:.1f}",
        _reached(first),
        f"{other.seconds:.0f}",
        f"{other.seconds / own.seconds:.1f} ×",
    ]


def averaged(found: list[tuple[Outcome, Outcome]]) -> list[str]:
    """The same over all seeds: means, median seconds, and the median and spread of the ratios."""
    values = [
        f"{mean(getattr(pair[i], name) for pair in found):{form}}" for name, form in FORMS.items() for i in (0, 1)
    ]
    firsts = [own.seconds_to(other.elbo * 1.002) for own, other in found]
    ratios = [other.seconds / own.seconds for own, other in found]
    seconds = [median(own.seconds for own, _ in found), median(firsts), median(other.seconds for _, other in found)]
    return [*values, f"{seconds[0]:.1f}", _reached(seconds[1]), f"{seconds[2]:.0f}", f"{spread(ratios, '.1f')} ×"]


def _reached(seconds: float) -> str:
    return f"{seconds:.1f}" if np.isfinite(seconds) else "not reached"


if __name__ == "__main__":
    main()
