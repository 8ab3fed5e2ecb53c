"""What preparing did to counts and genes, shown from its artefact."""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from labeltransfer.data.prepare import prepared
from labeltransfer.results.figures import charts
from pages.shared.cached import reader, the_path
from pages.shared.words import plain, read_counts

LOSSES = (
    ("n_unnamed_genes", "have no name in the chosen column"),
    ("n_repeated_genes", "repeat a name that came before"),
    ("n_genes_without_length", "have no known length"),
)


def show_previews(folder: Path) -> None:
    """Show a prepare artefact: key numbers, counts per cell, mean-variance, genes lost, and the steps in words."""
    counts = read_counts(folder / "summary.json")
    if counts and "query" not in counts:  # a reference alone shares its genes with none
        counts = {}
    if counts:
        _numbers(counts)
    if (folder / "prepared.h5ad").exists():
        counts_chart, genes = _drawn(folder / "prepared.h5ad")
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader(
                "Counts per cell",
                anchor=False,
                help="Sum of a cell's counts, as the file gave them and as the models see them.",
            )
            st.altair_chart(
                counts_chart,
                width="stretch",
                alt="Histograms: counts per cell of each side, before and after preparing.",
            )
        with right:
            st.subheader("Highly variable genes", anchor=False, help="Those that vary beyond what their mean explains.")
            st.plotly_chart(
                charts.mean_variance_figure(genes),
                width="stretch",
                alt="Scatter: mean and variance of each shared gene, the chosen ones highlighted.",
            )
            if counts and len(genes) < counts["genes"]["n_shared"]:
                n_shared = counts["genes"]["n_shared"]
                st.caption(
                    f"Only {len(genes):,} of the {n_shared:,} shared genes are drawn here: the others did not come "
                    "with this run. All of them were there when it was prepared and trained."
                )
    if counts:
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader("Where genes were lost", anchor=False)
            _gene_losses(counts)
        with right:
            st.subheader("What was done", anchor=False)
            st.markdown("\n".join(f"{i}. {plain(step)}" for i, step in enumerate(counts["steps"], 1)))


@reader(the_path, max_entries=4, spinner="Reading cells and genes.")
def _drawn(path: Path) -> tuple[alt.Chart, pd.DataFrame]:
    """Chart of the counts of all cells, which are not kept, and the table of genes."""
    cells = prepared.read_columns(path, ["side", "n_counts_raw", "n_counts"])
    return charts.counts_figure(cells), prepared.read_genes(path)


def _numbers(counts: dict[str, Any]) -> None:
    genes = counts["genes"]
    with st.container(horizontal=True):
        for side in ("reference", "query"):
            own = counts[side]
            st.metric(
                f"{side.title()} cells",
                f"{own['n_cells']:,} of {own['n_cells_in_file']:,}",
                help=f"{own['n_labelled']:,} of {own['n_cells']:,} have a label; {own['n_labels']} different ones.",
                width="content",
            )
        st.metric(
            "Shared genes",
            f"{genes['n_shared']:,}",
            help=f"Of {genes['n_reference']:,} usable genes of the reference and {genes['n_query']:,} of the query.",
            width="content",
        )
        if "n_padded" in genes:
            st.metric(
                "Genes of the models",
                f"{genes['n_chosen'] - genes['n_padded']:,} of {genes['n_chosen']:,}",
                help="Genes that the published reference's models see and the query has; the others are zeros.",
                width="content",
            )
        else:
            st.metric(
                "Highly variable genes",
                f"{genes['n_chosen']:,} of {genes['n_shared']:,}",
                help="The genes that the models are trained on.",
                width="content",
            )


def _gene_losses(counts: dict[str, Any]) -> None:
    """A table: genes of each side from the file to the shared ones."""
    rows: dict[str, dict[str, int]] = {}
    for side in ("reference", "query"):
        own, n_usable = counts[side], counts["genes"][f"n_{side}"]
        column = {"in the file": own["n_genes_in_file"]}
        column |= {words: -own[key] for key, words in LOSSES if own.get(key)}
        column["are missing on the other side"] = counts["genes"]["n_shared"] - n_usable
        column["shared"] = counts["genes"]["n_shared"]
        rows[side.title()] = column
    order = ["in the file", *(words for _, words in LOSSES), "are missing on the other side", "shared"]
    table = pd.DataFrame(rows).reindex([name for name in order if any(name in column for column in rows.values())])
    shown = table.map(lambda n: "" if pd.isna(n) else f"{int(n):,}".replace("-", "−"))
    st.table(shown.rename_axis("Genes"))
