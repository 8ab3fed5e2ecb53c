"""What the app knows about the data sets that it can fetch: where they are, what they hold, how they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class CatalogueEntry:
    """One file that can be fetched, what it must hold, and how it is read."""

    key: str
    title: str
    description: str
    url: str
    n_bytes: int
    """About how long the file is, for people; the length is verified against what the server announces."""
    shape: tuple[int, int]
    """Cells and genes."""
    technology: str
    full_length: bool
    labels_key: str
    batch_key: str | None
    tissue_key: str
    sex_key: str
    mirror_urls: tuple[str, ...] = ()
    tutorial_filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tutorial_shape: tuple[int, int] | None = None
    """Cells and genes that are left by the tutorial's filters, cells without a label left out."""
    tutorial_labels: Mapping[str, int] = field(default_factory=dict)
    """Cells by label of the same; empty where they are not published."""

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


_SENIS = {
    "labels_key": "cell_ontology_class",
    "batch_key": "mouse.id",
    "tissue_key": "tissue",
    "sex_key": "sex",
    "tutorial_filters": {"tissue": ("Marrow",), "sex": ("female",)},
}

_ENTRIES = (
    CatalogueEntry(
        key="tms-facs",
        title="Tabula Muris Senis, FACS Smart-seq2",
        description="Mouse, many tissues, full-length Smart-seq2, raw counts. The tutorial's reference: female marrow.",
        url="https://exampledata.scverse.org/scvi-tools/tabula-muris-senis-facs-official-raw-obj.h5ad",
        mirror_urls=("https://figshare.com/ndownloader/files/23939711",),
        n_bytes=2_200_000_000,
        shape=(110_824, 22_966),
        technology="Smart-seq2",
        full_length=True,
        tutorial_shape=(4_200, 22_966),
        tutorial_labels={
            "CD4-positive, alpha-beta T cell": 107,
            "NK cell": 139,
            "basophil": 26,
            "early pro-B cell": 24,
            "granulocyte": 773,
            "granulocyte monocyte progenitor cell": 52,
            "granulocytopoietic cell": 67,
            "hematopoietic stem cell": 894,
            "immature B cell": 281,
            "late pro-B cell": 132,
            "lymphoid progenitor cell": 13,
            "macrophage": 136,
            "mature alpha-beta T cell": 150,
            "megakaryocyte-erythroid progenitor cell": 22,
            "naive B cell": 740,
            "precursor B cell": 321,
            "promonocyte": 323,
        },
        **_SENIS,  # type: ignore[arg-type]
    ),
    CatalogueEntry(
        key="tms-droplet",
        title="Tabula Muris Senis, droplet 10x",
        description="Mouse, many tissues, 10x 3' droplets, raw counts. The tutorial's query: female marrow. Several of "
        "its published marrow labels are known to be swapped, so look twice where prediction and label differ.",
        url="https://exampledata.scverse.org/scvi-tools/tabula-muris-senis-droplet-official-raw-obj.h5ad",
        mirror_urls=("https://figshare.com/ndownloader/files/23938934",),
        n_bytes=3_780_000_000,
        shape=(245_389, 20_138),
        technology="10x",
        full_length=False,
        tutorial_shape=(11_707, 20_138),
        **_SENIS,  # type: ignore[arg-type]
    ),
)
CATALOGUE: dict[str, CatalogueEntry] = {entry.key: entry for entry in _ENTRIES}
"""Entries by key."""


def check_tutorial_subset(entry: CatalogueEntry, obs: pd.DataFrame, *, n_genes: int | None = None) -> list[str]:
    """Compare what the tutorial's filters leave of ``obs`` (all cells of the file) with what was published.

    Label names are compared without case, commas and a closing "cell", which differ between releases.

    Returns
    -------
    Differences, one plain sentence each; empty where all agrees.
    """
    kept = obs[entry.labels_key].notna() & (obs[entry.labels_key].astype(str).str.strip() != "")
    for column, values in entry.tutorial_filters.items():
        kept &= obs[column].isin(values)
    differences = []
    if entry.tutorial_shape is not None:
        expected_cells, expected_genes = entry.tutorial_shape
        if (n_cells := int(kept.sum())) != expected_cells:
            differences.append(f"The tutorial's filters leave {n_cells:,} cells instead of {expected_cells:,}.")
        if n_genes is not None and n_genes != expected_genes:
            differences.append(f"There are {n_genes:,} genes instead of {expected_genes:,}.")
    if entry.tutorial_labels:
        found = obs.loc[kept, entry.labels_key].astype(str).map(_plain).value_counts().to_dict()
        expected = {_plain(label): (label, n) for label, n in entry.tutorial_labels.items()}
        for key, (label, n) in expected.items():
            if found.get(key, 0) != n:
                differences.append(f"Label {label} has {found.get(key, 0):,} cells instead of {n:,}.")
        unknown = [f"{label} ({n:,} cells)" for label, n in sorted(found.items()) if label not in expected]
        differences += [f"Label {label} is not among the tutorial's." for label in unknown]
    return differences


def _plain(label: str) -> str:
    words = label.lower().replace(",", " ").split()
    return " ".join(words[:-1] if len(words) > 1 and words[-1] in ("cell", "cells") else words)
