"""The settings of one side that are rarely changed: technology, batches, where counts and gene names are."""

import pandas as pd
import streamlit as st

from labeltransfer.data import intake
from labeltransfer.params import Side, SideParams
from pages.data_parts.input_readers import value_columns
from pages.shared import words
from pages.shared.draft import Draft
from pages.shared.widgets import optional_select, setting_input


def more_settings(side: Side, held: Draft, summary: intake.Summary) -> None:
    """Show what is rarely changed, folded away, and keep it in the draft."""
    kept = held.settings[side]
    with st.expander("Columns and counts", icon=":material/tune:"):
        technology = setting_input(
            SideParams, "technology", kept.get("technology"), held.key(f"{side}-tech-{summary.path}")
        )
        batch = optional_select(
            "Batch column",
            value_columns(summary.obs),
            kept.get("batch_key"),
            held.key(f"{side}-batch-{summary.path}"),
            empty="None: the technology alone",
            about=about("batch_key") + _candidates(summary),
        )
        places = ["auto", *summary.places]
        counts = st.selectbox(
            "Raw counts",
            places,
            index=places.index(kept["counts"]) if kept.get("counts") in places else 0,
            format_func=lambda p: (
                f"Automatic: {summary.counts}"
                if p == "auto" and kept.get("counts", "auto") == "auto"
                else ("Automatic" if p == "auto" else p)
            ),
            key=held.key(f"{side}-counts-{summary.path}"),
            help=about("counts"),
        )
        columns = [str(c) for c in summary.var.columns if not pd.api.types.is_numeric_dtype(summary.var[c])]
        names = optional_select(
            "Gene names",
            columns,
            kept.get("gene_names"),
            held.key(f"{side}-genes-{summary.path}"),
            empty="var index",
            about=about("gene_names"),
        )
        rounding = setting_input(
            SideParams, "non_integer", kept.get("non_integer"), held.key(f"{side}-round-{summary.path}")
        )
    changed = counts != kept.get("counts", "auto")
    held.set_section(
        side, technology=technology, batch_key=batch, counts=counts or "auto", gene_names=names, non_integer=rounding
    )
    if changed:  # another place has other genes and other values: all above is out of date
        st.rerun()


def about(field: str) -> str:
    """Help of a setting of one side."""
    return SideParams.model_fields[field].description or ""


def _candidates(summary: intake.Summary) -> str:
    found = intake.guess(summary).batch
    return f" This file has {words.plain(', '.join(found))}." if found else ""
