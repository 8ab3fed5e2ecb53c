"""The cells on maps, in any colour; a lasso lists what it circles."""

from typing import Any

import streamlit as st

from labeltransfer.results.figures import scatter
from pages.explore_parts.cell_map import (
    COLUMNS,
    GENE,
    VIEWS,
    agreement_columns,
    draw,
    gene_names,
    own_columns,
    selected_rows,
)
from pages.explore_parts.on_demand import on_demand_section
from pages.explore_parts.trust_section import trust_section
from pages.shared import cached
from pages.shared.cell_list import cell_list
from pages.shared.frame import catching, guard, page_header, require_run
from pages.shared.trust_view import alarm_banner
from pages.shared.words import plain

BASES: dict[scatter.Basis, str] = {"scanvi": "scANVI", "scvi": "scVI"}
OF_SAMPLE = ": it takes the drawn ones alone; Compare and Export take all cells of a label"


guard()
page_header("Explore", "explore")
run = require_run("evaluate")

with catching():
    cells = cached.cells(run)
    genes, most_variable = gene_names(run)
    options = COLUMNS | agreement_columns(cells) | ({GENE: ""} if genes else {}) | own_columns(run)
    alarm_banner(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        basis = st.segmented_control(
            "Map of",
            [basis for basis in BASES if f"{basis}_1" in cells],  # a run that was mapped has scANVI's map alone
            default="scanvi",
            format_func=lambda key: BASES[key],
            required=True,
            key="explore-basis-mapped" if run.params.mapping else "explore-basis",
            persist_state="session",
            help="MDE of the latent of scVI, which knows no labels, or of scANVI, which knows the reference's. "
            "Near means alike; distances between far groups, and the axes, mean nothing.",
        )
        view = st.segmented_control(
            "Cells", list(VIEWS), default="Side by side", required=True, key="explore-view", persist_state="session"
        )
        chosen = st.selectbox(
            "Colour", list(options), key=f"explore-colour-{run.id}", width=240, persist_state="session"
        )
        gene = ""
        if chosen == GENE:
            gene = st.selectbox(
                "Gene",
                genes,
                index=most_variable,
                key=f"explore-gene-{run.id}",
                width=200,
                persist_state="session",
                help=f"Any of the {len(genes):,} shared genes: type to search. log1p of counts per 10,000.",
            )
        names = st.toggle(
            "Names on the map",
            key="explore-names",
            persist_state="session",
            help="At the median of each group; where a number gives the colour, of each predicted label.",
        )

    shown = cached.side_rows(run, VIEWS[view][0])
    n_shown, n_drawn = len(shown), len(cached.drawn_rows(run, VIEWS[view][0], options[chosen]))
    is_sample = n_drawn < n_shown
    can_select = n_drawn <= scatter.LASSO_LIMIT
    event: Any = st.plotly_chart(
        draw(run, basis, view, options[chosen], gene=gene, names=names, dark=st.context.theme.type == "dark"),
        key=f"explore-map-{run.id}-{view}",
        on_select="rerun" if can_select else "ignore",
        selection_mode=("lasso", "box"),
        config={
            "scrollZoom": True,
            "displaylogo": False,
            "toImageButtonOptions": {"format": "png", "scale": 3, "filename": f"map-{basis}-{run.id}"},
        },
        alt=f"Map of the {BASES[basis]} latent with {n_drawn:,} cells, coloured by {gene or chosen.lower()}",
    )

    if is_sample:
        st.caption(
            f"{n_drawn:,} of {n_shown:,} cells are drawn, every label among them, and more of rare labels than their "
            "share; tables, scores and exports take all."
        )
    rows = selected_rows(event) if can_select else []
    if rows:
        of = f"{n_drawn:,} drawn" if is_sample else f"{n_shown:,} shown"
        st.subheader(f"{len(rows):,} of {of} cells", anchor=False)
        cell_list(run, cells, shown[rows], key="explore", file_name=f"selection-{run.id}.csv")
    elif can_select:
        st.caption(
            f"Circle cells with the lasso to list them and take them along as CSV{OF_SAMPLE if is_sample else ''}. "
            "A click on a name in the legend hides it, a double click shows it alone; the camera saves a PNG."
        )
    else:
        st.caption(
            f"{n_drawn:,} cells are drawn, and the lasso works up to {scatter.LASSO_LIMIT:,}: show one side alone, or "
            "choose cells by label on the Compare and Export pages."
        )
    if gene:
        counted = cached.expression(run, gene)[shown] > 0
        n_seen = f" It was counted in {int(counted.sum()):,} of the {n_shown:,} cells." if is_sample else ""
        st.caption(f"{plain(gene)}: log1p of counts per 10,000 of the cell, grey where none was counted.{n_seen}")
    if not genes:
        st.caption("This run was kept without its counts, so genes cannot be shown.")
    trust_section(run, cells)
    on_demand_section(run, cells)
