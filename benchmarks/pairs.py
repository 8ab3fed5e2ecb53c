"""The pairs of files that benchmarks train on, prepared as the app prepares them."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.models.split import stratified_split
from labeltransfer.params import RunParams, run_params

SHARED = Path("../shared")
"""Folder with the real pairs (``data``) and the simulator of the tutorial's pair (``tools``)."""

FILES = {"pbmc": "pbmc_3prime_to_5prime", "baron": "baron_h1_lib12_to_lib3"}
PAIRS = (*FILES, "marrow")

_SORTED = "sorted_pbmc_reference"
REAL: dict[str, tuple[str, str, str, str]] = {
    "pbmc": ("pbmc_3prime_to_5prime_reference", "cell_type", "pbmc_3prime_to_5prime_query", "cell_type"),
    "baron": ("baron_h1_lib12_to_lib3_reference", "cell_type", "baron_h1_lib12_to_lib3_query", "cell_type"),
    "baron donors": (
        *("baron_donors124_to_donor3_reference", "cell_type1"),
        *("baron_donors124_to_donor3_query", "cell_type1"),
    ),
    "sorted to garnett": (_SORTED, "cell_type", "sorted_pbmc_to_garnett_query", "cell_type"),
    "sorted to kang": (_SORTED, "cell_type", "sorted_pbmc_to_kang_query", "cell_type"),
    "sorted to celseq2": (_SORTED, "celseq2_label", "sorted_pbmc_to_celseq2_query", "cell_type"),
    "lymph to sorted": ("lymph_tissue_reference", "cell_type", _SORTED, "tissue_label"),
    "breast": ("breast_scrna_to_snrna_reference", "cell_type", "breast_scrna_to_snrna_query", "cell_type"),
    "zilionis": (
        *("zilionis_mouse_healthy_to_tumor_reference", "cell_type"),
        *("zilionis_mouse_healthy_to_tumor_query", "cell_type"),
    ),
    "starmap": ("starmap_batch01_to_2_reference", "cell_type", "starmap_batch01_to_2_query", "cell_type"),
    "cite": ("cite_pbmc10k_to_pbmc5k_reference", "cell_type", "cite_pbmc10k_to_pbmc5k_query", "cell_type"),
}
"""Real pairs: reference and its label column, query and its label column."""


@dataclass(frozen=True)
class Pair:
    """Two files and how to read them; ``marrow`` is the simulated pair of the tutorial."""

    reference: Path
    query: Path
    labels_key: str
    filters: tuple[str, ...] = ()
    gene_lengths: Path | None = None
    query_labels_key: str | None = None

    def options(self) -> list[str]:
        """Options of the command line."""
        options = ["--reference", str(self.reference), "--query", str(self.query), "--labels-key", self.labels_key]
        options += ["--query-labels-key", self.query_labels_key] if self.query_labels_key else []
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


def real_pairs(names: Iterable[str], shared: Path = SHARED, *, swapped: bool = False) -> dict[str, Pair]:
    """Real pairs by name; ``swapped`` takes each query as the reference, which gives as many more."""
    found = {}
    for name in names:
        reference, key, query, query_key = REAL[name]
        sides = [(shared / "data" / f"{reference}.h5ad", key), (shared / "data" / f"{query}.h5ad", query_key)]
        (first, first_key), (second, second_key) = sides[::-1] if swapped else sides
        found[f"{name}, swapped" if swapped else name] = Pair(first, second, first_key, query_labels_key=second_key)
    return found


def load(pair: Pair) -> ad.AnnData:
    """Cells by chosen genes, ready to train on, with observed labels in ``obs["observed_label"]``."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(pair.params(), Path(folder), report=lambda _: None)
        return training_data(Path(folder) / "prepared.h5ad")


def split(adata: ad.AnnData, seed: int = 0) -> list[np.ndarray]:
    """Rows of training, held-out and test cells: the fast loop's own split, given to both sides."""
    return stratified_split(adata.obs["training_label"].to_numpy(dtype=object), train_size=0.9, seed=seed)


def score_labels(pair: Pair, labels: pd.Series) -> tuple[float, float]:
    """Accuracy and macro-F1 of labels of the query, a series by cell name, over cells whose label the reference has."""
    reference, query = (ad.read_h5ad(path, backed="r").obs for path in (pair.reference, pair.query))
    truth = query[pair.query_labels_key or pair.labels_key]
    judged = truth.notna() & truth.astype(object).isin(reference[pair.labels_key].dropna().unique())
    right, guess = truth[judged].astype(str), labels.reindex(query.index)[judged].astype(str)
    f1 = f1_score(right, guess, average="macro", labels=sorted(right.unique()), zero_division=0)
    return float(accuracy_score(right, guess)), float(f1)


def score(adata: ad.AnnData, predicted: np.ndarray) -> tuple[float, float, int]:
    """Accuracy and macro-F1 over the query cells whose label the reference has, and their number."""
    observed = adata.obs["observed_label"].astype(object)
    known = observed[adata.obs["side"] == "reference"].unique()
    judged = ((adata.obs["side"] == "query") & observed.isin(known)).to_numpy()
    truth, guess = observed[judged].astype(str), predicted[judged].astype(str)
    f1 = f1_score(truth, guess, average="macro", labels=sorted(truth.unique()), zero_division=0)
    return float(accuracy_score(truth, guess)), float(f1), int(judged.sum())
