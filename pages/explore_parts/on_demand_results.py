"""What the tests on demand found, as tables and a map."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from labeltransfer.results.figures import scatter
from labeltransfer.results.figures.colours import GREY
from labeltransfer.results.trust import hidden_label, stability
from labeltransfer.results.trust.rejection import FARTHEST, Rule
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.words import plain

RULE_NAMES = {
    "both": "Either, at 5 % loss",
    "confidence": "Confidence alone, at 5 % loss",
    "distance": "Distance alone, at 5 % loss",
    "set": "As set above",
}
NOT_SAID = (
    "Thresholds are chosen by the other labels' held-out cells alone. The hidden cells are of the reference's "
    "technology, and scVI has seen their counts without a label: an unknown kind among query cells can be harder."
)
FEW, SOME = "#b40f2d", "#e69f00"
"""Colours of cells whose label no other seed gives, and that some do: apart from each other and from grey for all."""


@reader(cells_file, max_entries=128, spinner="Looking at the hidden cells …")
def hidden_report(run: Run, label: str, confidence: float, distance: float) -> dict[str, Any]:
    """The test of a run that hid a label, see :func:`.hidden_label.hidden_report`; one rule more if it is active."""
    rule = Rule(confidence, distance)
    cells = pd.read_parquet(require_whole(cells_file(run)), columns=list(hidden_label.COLUMNS))
    return hidden_label.hidden_report(cells, label, {"set": rule} if rule.active else None)


def cells_files(runs: Sequence[Run]) -> list[Path]:
    """The tables of cells of several runs."""
    return [cells_file(run) for run in runs]


@reader(cells_files, max_entries=8, shared=True, spinner="Comparing the seeds …")
def seeds_compared(runs: Sequence[Run]) -> stability.Stability:
    """A run, the first of all, against the runs that differ from it by their seed alone."""
    own, *others = (pd.read_parquet(require_whole(cells_file(run)), columns=list(stability.COLUMNS)) for run in runs)
    return stability.compare_seeds(own, others)


@reader(cells_files, max_entries=8, shared=True, spinner="Drawing the map …")
def stability_map(runs: Sequence[Run], *, dark: bool) -> tuple[go.Figure, int]:
    """The query's cells of the first run by the number of seeds that agree, and how many are drawn."""
    run, found = runs[0], seeds_compared(runs)
    drawn = cached.drawn_rows(run, ["query"], "predicted_label")
    colours = {f"{n} of {found.n_seeds} seeds": SOME for n in range(2, found.n_seeds)}
    colours |= {f"{found.n_seeds} of {found.n_seeds} seeds": GREY, f"1 of {found.n_seeds} seeds": FEW}
    figure = scatter.scatter(
        cached.cells(run).iloc[drawn],
        stability.in_words(found).iloc[drawn].rename("Seeds that agree"),
        split=(),
        colours=colours,
        rows=drawn,
        dark=dark,
        height=480,
    )
    return figure.update_layout(dragmode="pan"), len(drawn)


def show_tested(finished: Mapping[str, Run]) -> None:
    """Every label that was hidden so far, in a line each."""
    rows = []
    for label, run in finished.items():
        report = hidden_report(run, label, 0.0, FARTHEST)
        most, n_hidden = report["swallowed_by"][0], report["rules"]["both"]["n_hidden"]
        caught = {kind: report["rules"][kind]["caught"] for kind in ("confidence", "distance", "both")}
        called = {"swallowed_by": most["predicted_label"], "share": most["share"]}
        rows.append({"label": label, "n_hidden": n_hidden, **called, **caught})
    cost = "Share of its reference cells that are rejected, by a rule that costs at most 5 % of the other labels' "
    st.dataframe(
        pd.DataFrame(rows).sort_values("both"),
        hide_index=True,
        column_config={
            "label": st.column_config.TextColumn("Hidden label", pinned=True),
            "n_hidden": st.column_config.NumberColumn("Its reference cells", format="localized"),
            "swallowed_by": st.column_config.TextColumn("Mostly called"),
            "share": st.column_config.NumberColumn("Share called so", format="percent"),
            **{
                kind: st.column_config.NumberColumn(
                    f"Rejected by {words}", format="percent", help=f"{cost}held-out cells."
                )
                for kind, words in (("confidence", "confidence"), ("distance", "distance"), ("both", "either"))
            },
        },
        alt="Labels that were hidden so far",
    )


def show_hidden(run: Run, label: str, rule: Rule) -> None:
    """What became of the cells of the label that a finished run hid."""
    report = hidden_report(run, label, rule.confidence, rule.distance)
    n_hidden = report["rules"]["both"]["n_hidden"]
    left, right = st.columns(2)
    with left:
        st.caption(f"What the {n_hidden:,} reference cells of {plain(label)} were called instead:")
        st.dataframe(
            pd.DataFrame(report["swallowed_by"]),
            hide_index=True,
            column_config={
                "predicted_label": st.column_config.TextColumn("Absorbed by", pinned=True),
                "n_cells": st.column_config.NumberColumn("Cells", format="localized"),
                "share": st.column_config.NumberColumn("Share", format="percent", help=f"Of {n_hidden:,} cells."),
                "confidence": st.column_config.NumberColumn("Median confidence", format="%.3f"),
                "distance_percentile": st.column_config.NumberColumn("Median distance percentile", format="%.1f"),
            },
            alt=f"Labels that the hidden cells of {label} were given",
        )
    with right:
        st.caption("How many of them a rule rejects, and what it costs:")
        st.dataframe(_rules_table(report["rules"]), hide_index=True, alt="Rejection rules on the hidden cells")
    st.caption(NOT_SAID)


def _rules_table(rules: Mapping[str, Any]) -> pd.DataFrame:
    """One row a rule, every share with its denominator."""
    rows = [
        {
            "Rule": title,
            "Rejects": rule_words(Rule(**rules[name]["rule"])),
            "Hidden cells rejected": _of(rules[name]["n_hidden_rejected"], rules[name]["n_hidden"]),
            "Other held-out cells lost": _of(rules[name]["n_others_rejected"], rules[name]["n_others"]),
        }
        for name, title in RULE_NAMES.items()
        if name in rules
    ]
    return pd.DataFrame(rows)


def rule_words(rule: Rule) -> str:
    """A rule in words, such as 'confidence < 0.412 or distance > 97.5'."""
    parts = [f"confidence < {rule.confidence:.3f}"] if rule.confidence > 0 else []
    parts += [f"distance > {rule.distance:.1f}"] if rule.distance < FARTHEST else []
    return " or ".join(parts) or "nothing"


def _of(n: int, total: int) -> str:
    return f"{n / total:.1%} of {total:,}" if total else "–"


def show_stability(run: Run, others: Iterable[Run]) -> None:
    """How many labels change with the seed: in all, by label, and where on the map."""
    runs = (run, *others)
    found, cells = seeds_compared(runs), cached.cells(run)
    n_changed, n_cells = stability.changed_overall(cells, found)
    st.metric(
        f"Labels that change under {found.n_seeds} seeds, of {n_cells:,} query cells",
        _of(n_changed, n_cells).split(" ")[0],
        help="Query cells that at least one of the other seeds gives another label. What stays the same can still be "
        "wrong in the same way each time.",
        border=True,
    )
    st.dataframe(
        stability.changed_per_label(cells, found),
        hide_index=True,
        column_config={
            "predicted_label": st.column_config.TextColumn("Predicted label", pinned=True),
            "n_cells": st.column_config.NumberColumn("Query cells", format="localized"),
            "n_changed": st.column_config.NumberColumn("Change", format="localized"),
            "share_changed": st.column_config.NumberColumn("Share that changes", format="percent"),
        },
        alt="Query cells whose label changes with the seed, by predicted label",
    )
    if st.toggle("Show them on the map", key=f"stability-map-{run.id}"):
        figure, n_drawn = stability_map(runs, dark=st.context.theme.type == "dark")
        st.plotly_chart(
            figure,
            key=f"stability-figure-{run.id}",
            config={"scrollZoom": True, "displaylogo": False},
            alt=f"Map of the scANVI latent with {n_drawn:,} query cells, by the number of seeds that agree",
        )
        if n_drawn < n_cells:
            st.caption(f"{n_drawn:,} of {n_cells:,} query cells are drawn; the table counts all.")
