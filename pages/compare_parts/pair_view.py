"""What opens behind a tile of the confusion matrix: the cells on the map, in numbers, in genes, in other words."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.params import Side
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.figures import dot_plot
from labeltransfer.results.figures.colours import INK, INK_ON_DARK, LABEL_COLOURS
from labeltransfer.results.figures.scatter import highlight
from labeltransfer.results.maps import sampling
from labeltransfer.results.scores.cells import METHODS
from labeltransfer.results.tile import groups
from labeltransfer.results.tile.markers import FOLD_OFFSET, LEAST_CELLS
from labeltransfer.runs.records.run import Run
from pages.compare_parts.edit_view import edit_form
from pages.compare_parts.tile_readers import genes_of, pair_of
from pages.shared import cached
from pages.shared.cell_list import cell_list
from pages.shared.trust_view import OLD_RUN, voters
from pages.shared.words import plain

SOURCES: dict[groups.Source, str] = {"same": "Query cells with both labels equal", "reference": "Reference cells"}
GENES_LISTED = 50
GENE_COLUMNS = {
    "gene": st.column_config.TextColumn("Gene", pinned=True),
    "auroc": st.column_config.NumberColumn(
        "AUROC",
        format="%.3f",
        help="Chance that one of these cells, taken at random, has more of the gene than one of the others. 0.5 says "
        "nothing, 1 is always more, 0 always less.",
    ),
    "log2_fold_change": st.column_config.NumberColumn(
        "log2 change",
        format="%.2f",
        help=f"Of the mean counts per 10,000, with {FOLD_OFFSET:g} added to both: 1 is twice as much here.",
    ),
    "share_first": st.column_config.NumberColumn("Have it", format="percent", help="Share of these cells."),
    "share_second": st.column_config.NumberColumn("Others have it", format="percent", help="Share of the others."),
    "p_adjusted": st.column_config.NumberColumn(
        "p adjusted",
        format="%.1e",
        help="Wilcoxon's rank sums, adjusted over all compared genes (Benjamini and Hochberg). It falls with the "
        "number of cells; and these groups were made by labels that come from genes themselves: rank by the AUROC.",
    ),
}


def show_pair(run: Run, cells: pd.DataFrame, side: Side, observed: str, predicted: str) -> None:
    """All that is known of the cells behind one tile, and what to do with them."""
    rows = groups.tile_rows(cells, side, observed, predicted)
    st.subheader(
        f"{len(rows):,} {side} cells observed as {plain(observed)}, predicted as {plain(predicted)}", anchor=False
    )
    if not len(rows):
        st.caption("There is no cell here.")
        return
    low, median, high = np.quantile(cells["confidence"].to_numpy()[rows], [0.25, 0.5, 0.75])
    st.caption(f"Median confidence {median:.2f}; half of them lie between {low:.2f} and {high:.2f}.")
    source = choose_source(run, cells, side, observed, predicted)
    found = pair_of(run, side, observed, predicted, source)
    left, right = st.columns([2, 3])
    with left:
        show_on_map(run, cells, found, observed, predicted)
    with right:
        cell_list(run, cells, rows, key="compare", file_name=f"{run.id}-observed-predicted.csv")
    numbers, genes, others, decide = st.tabs(["In numbers", "Genes", "Other classifiers", "Decide"])
    with numbers:
        show_numbers(cells, found, n_voters=len(voters(run)))
    with genes:
        show_genes(run, found, side, observed, predicted, source)
    with others:
        show_said(cells, rows)
    with decide:
        edit_form(run, cells, rows, side, observed, predicted)


def choose_source(run: Run, cells: pd.DataFrame, side: Side, observed: str, predicted: str) -> groups.Source:
    """Where the parents come from; a choice where there is one."""
    best = groups.best_source(cells, side, observed, predicted)
    if side == "reference" or observed == predicted:
        return best
    return st.segmented_control(
        "Compared with",
        list(SOURCES),
        default=best,
        format_func=lambda key: SOURCES[key],
        required=True,
        key=f"pair-source-{run.id}-{observed}-{predicted}",
        help="The two parents are cells of either label. At first query cells, where there are "
        f"{groups.ENOUGH} of each, or where the reference lacks a label: reference cells may come from another "
        "technology. Where the query's own labels are in doubt, as in a swap, the reference is the better witness.",
    )


def group_colours(run: Run, found: groups.Pair, observed: str, predicted: str) -> dict[str, str]:
    """Parents have their label's colour; these cells differ from both on a light and on a dark page."""
    own = cached.colours(run)
    first, second = found.parents
    same = observed == predicted
    return {
        found.these.name: INK_ON_DARK if st.context.theme.type == "dark" else INK,
        first.name: LABEL_COLOURS[1] if same else own.get(observed, LABEL_COLOURS[0]),
        second.name: LABEL_COLOURS[4] if same else own.get(predicted, LABEL_COLOURS[1]),
    }


def show_on_map(run: Run, cells: pd.DataFrame, found: groups.Pair, observed: str, predicted: str) -> None:
    """These cells on the map against both parents, the rest in grey; of very many a sample that says so."""
    group = np.full(len(cells), -1, np.int8)
    shown = found.groups if observed != predicted else found.groups[:2]  # else nothing would be left for grey
    for place, own in enumerate(shown):
        group[own.rows] = place
    group[found.these.rows] = 0
    drawn = sampling.with_chosen(
        cached.drawn_rows(run, ["reference", "query"]), group == 0, n_most=sampling.MOST_DRAWN // 2
    )
    part, codes = cells.iloc[drawn], group[drawn]
    names = pd.Series(pd.Categorical.from_codes(codes, pd.Index([g.name for g in shown])), index=part.index)
    n_others = int((group < 0).sum())
    n_these, n_drawn = len(found.these), int((codes == 0).sum())
    figure = highlight(
        part, codes >= 0, names, colours=group_colours(run, found, observed, predicted), n_others=n_others
    )
    # On top, and of another shape: no colour alone says which they are.
    front = [trace for trace in figure.data if trace.legendgroup == found.these.name]
    figure.data = (*(trace for trace in figure.data if trace.legendgroup != found.these.name), *front)
    for trace in front:
        trace.marker.symbol = "diamond"
    st.plotly_chart(
        figure,
        key="compare-map",
        config={"displaylogo": False, "scrollZoom": True},
        alt=f"scANVI map with {n_drawn:,} of these {n_these:,} cells as diamonds, "
        f"{' and '.join(g.name for g in shown[1:])} in colour and others in grey",
    )
    if len(drawn) < len(cells):
        n_grey = int((codes < 0).sum())
        these = f"all {n_these:,}" if n_drawn == n_these else f"{n_drawn:,} of the {n_these:,}"
        st.caption(f"Drawn are {these} cells of this tile, a sample of its parents, {n_grey:,} of {n_others:,} others.")


def show_numbers(cells: pd.DataFrame, found: groups.Pair, *, n_voters: int) -> None:
    """Medians of these cells next to those of both parents; ``n_voters`` methods have a vote."""
    table = groups.group_medians(cells, found.groups)
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={
            "group": st.column_config.TextColumn("Cells", pinned=True),
            "n_cells": st.column_config.NumberColumn("Number", format="localized"),
            "confidence": st.column_config.NumberColumn(
                "Confidence", format="%.3f", help="Median probability of the predicted label."
            ),
            "distance_percentile": st.column_config.NumberColumn(
                "Distance percentile",
                format="%.0f",
                help="Median. 99 means farther from labelled reference cells than 99 % of these are from one another.",
            ),
            "agreement": st.column_config.NumberColumn(
                "Methods that agree",
                format="%.0f",
                help=f"Median number, of {n_voters} with a vote, that say the predicted label.",
            ),
            "n_counts": st.column_config.NumberColumn("Counts", format="localized", help="Median a cell."),
            "n_genes": st.column_config.NumberColumn("Genes", format="localized", help="Median a cell."),
        },
        alt="Medians of these cells and of both parents",
    )
    st.caption(
        "Medians. Cells with twice the counts of both parents may be two cells in one drop; with far fewer counts than "
        "either, cells too poor to be identified."
    )
    if "agreement" not in table:
        st.caption(OLD_RUN)


def show_genes(run: Run, found: groups.Pair, side: Side, observed: str, predicted: str, source: groups.Source) -> None:
    """Genes that differ between these cells and each parent: one dot plot, and a table a parent."""
    try:
        genes = genes_of(run, side, observed, predicted, source)
    except RunError:
        st.caption("This run was kept without its counts, so genes cannot be compared.")
        return
    n_these, *n_parents = genes.n_compared
    names = [f"these {len(found.these):,}", *(f"the {len(own):,} {plain(own.name)}" for own in found.parents)]
    counted = ", ".join(f"{n:,} of {name}" for n, name in zip(genes.n_compared, names, strict=True))
    st.caption(
        f"Compared are {counted}, over the {genes.n_genes:,} chosen genes; at most "
        f"{groups.MOST_COMPARED} cells of each, drawn at random and always the same."
    )
    if source == "reference" and side == "query":
        st.caption(
            "The parents are reference cells: where the technologies differ, genes that only one of them reads well "
            "are listed too. A gene that differs from one parent alone says more."
        )
    if genes.dots is not None:
        st.altair_chart(
            dot_plot.dot_chart(genes.dots, dark=st.context.theme.type == "dark"),
            alt=f"Dot plot of {genes.dots['gene'].nunique()} genes in these cells and both parents: a larger dot where "
            "more cells have the gene, a stronger one where the mean is higher",
        )
    parents = zip(st.columns(2), found.parents, genes.tables, n_parents, strict=True)
    for number, (column, group, table, n_parent) in enumerate(parents):
        with column:
            st.markdown(f"**Genes that differ from {plain(group.name)}**")
            if table is None:
                st.caption(
                    f"{n_these:,} and {n_parent:,} cells: too few to compare, each side needs at least {LEAST_CELLS}."
                )
                continue
            st.dataframe(
                table.head(GENES_LISTED)[list(GENE_COLUMNS)],
                hide_index=True,
                height=320,
                column_config=GENE_COLUMNS,
                alt=f"The {min(len(table), GENES_LISTED)} genes that differ most, with effect sizes",
            )
            st.download_button(
                f"Download all {len(table):,} as CSV",
                partial(to_csv, table[list(GENE_COLUMNS)]),
                file_name=f"{run.id}-genes.csv",
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
                key=f"pair-genes-csv-{number}",
            )


def show_said(cells: pd.DataFrame, rows: np.ndarray) -> None:
    """What the other classifiers call these cells."""
    table = groups.labels_by_method(cells, rows)
    methods = [name for name in METHODS.values() if name in table]
    if len(methods) < len(METHODS):
        missing = ", ".join(name for name in METHODS.values() if name not in table)
        st.caption(f"Without a label of their own in this run: {missing}. They were left out, failed, or are newer.")
    if len(methods) > 1:
        st.dataframe(
            table,
            hide_index=True,
            column_config={
                "label": st.column_config.TextColumn("Label", pinned=True),
                **{name: st.column_config.NumberColumn(format="localized") for name in methods},
            },
            alt="Number of these cells by label, for each classifier",
        )
        st.caption(
            f"How many of these {len(rows):,} cells each method gives a label. All were trained on the same reference: "
            "they can agree and be wrong together, above all where it lacks the right label."
        )
