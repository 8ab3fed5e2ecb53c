"""The pairs of files that benchmarks train on, prepared as the app prepares them."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.models.split import stratified_split
from labeltransfer.params import RunParams, run_params

SHARED = Path("../shared")
"""Folder with the real pairs (``data``) and the simulator of the tutorial's pair (``tools``)."""

FILES = {"pbmc": "pbmc_3prime_to_5prime", "baron": "baron_h1_lib12_to_lib3"}
PAIRS = (*FILES, "marrow")


@dataclass(frozen=True)
class Pair:
    """Two files and how to read them; ``marrow`` is the simulated pair of the tutorial."""

    reference: Path
    query: Path
    labels_key: str
    filters: tuple[str, ...] = ()
    gene_lengths: Path | None = None

    def options(self) -> list[str]:
        """Options of the command line."""
        options = ["--reference", str(self.reference), "--query", str(self.query), "--labels-key", self.labels_key]
        for side in ("reference", "query"):
            options += [f"--filter-{side}", *self.filters] if self.filters else []
        lengths = self.gene_lengths
        return options + (["--length-normalize", "reference", "--gene-lengths", str(lengths)] if lengths else [])

    def params(self) -> RunParams:
        """Settings of a run."""
        filters = {column: [value] for column, value in (f.split("=") for f in self.filters)}
        side = {"labels_key": self.labels_key, "filters": filters}
        settings = {"reference": side | {"path": str(self.reference)}, "query": side | {"path": str(self.query)}}
        if self.gene_lengths:
            settings["prepare"] = {"length_normalize": "reference", "gene_lengths": str(self.gene_lengths)}
        return run_params(settings)


def find_pair(name: str, scratch: Path, shared: Path = SHARED) -> Pair:
    """A pair by its name; the simulated one is made in ``scratch``, at the tutorial's size."""
    if name != "marrow":
        reference, query = (shared / "data" / f"{FILES[name]}_{side}.h5ad" for side in ("reference", "query"))
        return Pair(reference, query, "cell_type")
    if not (scratch / "droplet.h5ad").exists():
        simulator = shared / "tools" / "simulate_marrow.py"
        subprocess.run([sys.executable, str(simulator), str(scratch)], check=True, stdout=subprocess.DEVNULL)
    filters = ("tissue=Marrow", "sex=female")
    lengths = shared / "data" / "gene_len.txt"
    return Pair(scratch / "facs.h5ad", scratch / "droplet.h5ad", "cell_ontology_class", filters, lengths)


def load(pair: Pair) -> ad.AnnData:
    """Cells by chosen genes, ready to train on, with observed labels in ``obs["observed_label"]``."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(pair.params(), Path(folder), report=lambda _: None)
        return training_data(Path(folder) / "prepared.h5ad")


def split(adata: ad.AnnData, seed: int = 0) -> list[np.ndarray]:
    """Rows of training, held-out and test cells: the fast loop's own split, given to both sides."""
    return stratified_split(adata.obs["training_label"].to_numpy(dtype=object), train_size=0.9, seed=seed)


def score(adata: ad.AnnData, predicted: np.ndarray) -> tuple[float, float, int]:
    """Accuracy and macro-F1 over the query cells whose label the reference has, and their number."""
    observed = adata.obs["observed_label"].astype(object)
    known = observed[adata.obs["side"] == "reference"].unique()
    judged = ((adata.obs["side"] == "query") & observed.isin(known)).to_numpy()
    truth, guess = observed[judged].astype(str), predicted[judged].astype(str)
    f1 = f1_score(truth, guess, average="macro", labels=sorted(truth.unique()), zero_division=0)
    return float(accuracy_score(truth, guess)), float(f1), int(judged.sum())
