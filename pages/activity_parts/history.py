"""Who did what, newest first: by person, kind and day, and as CSV."""

import datetime as dt
import time
from collections.abc import Sequence
from typing import get_args

import pandas as pd
import streamlit as st

from labeltransfer.config import config, variable
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.runs.records.activity import Act, Kind, read_activity
from labeltransfer.runs.records.store import default_store
from labeltransfer.units import counted

SHOWN = 1_000
"""Rows of the table; the CSV has them all."""

NOBODY = "not signed in"
"""Who does something while sign-in is off, or on the command line."""


def history() -> None:
    """The list, with its filters and the download."""
    found = read_activity(default_store().root)
    if config().activity == "off":
        st.info(f"Nothing new is listed: {variable('activity')} is off.", icon=":material/visibility_off:")
    if not found.acts:
        st.caption("Nothing is listed yet: sign-ins, runs, deletions, publications and relabelling will be.")
    else:
        _listing(found.acts)
    if found.n_unreadable:
        st.caption(f"{counted(found.n_unreadable, 'line')} of the file cannot be read and are left out.")


def _listing(acts: Sequence[Act]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = st.selectbox(
            "Person",
            sorted({act.who for act in acts}),
            index=None,
            format_func=lambda name: name or NOBODY,
            placeholder="everybody",
            key="activity-who",
        )
        kind = st.selectbox("Kind", get_args(Kind), index=None, placeholder="everything", key="activity-kind")
        day = st.date_input("Day", value=None, key="activity-day", help="In this server's time zone.")
    chosen = [act for act in acts if _fits(act, who, kind, day)]
    if not chosen:
        st.caption(f"None of {counted(len(acts), 'line')} fits.")
        return
    st.dataframe(
        shown_table(chosen[:SHOWN], time.time()), hide_index=True, alt="Table: who did what and when, newest first."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download as CSV",
            lambda: to_csv(csv_table(chosen)),
            file_name="activity.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        more = f", the newest {SHOWN:,} are shown" if len(chosen) > SHOWN else ""
        st.caption(f"{len(chosen):,} of {len(acts):,}{more}.")


def _fits(act: Act, who: str | None, kind: str | None, day: dt.date | None) -> bool:
    return (
        who in (None, act.who)
        and kind in (None, act.kind)
        and day in (None, dt.datetime.fromtimestamp(act.time).date())
    )


def shown_table(acts: Sequence[Act], now: float) -> pd.DataFrame:
    """One row an act, in the given order, as a person reads it."""
    rows = [
        {"When": moment(act.time, now), "Who": act.who or NOBODY, "Did": act.kind, "What": _what(act)} for act in acts
    ]
    return pd.DataFrame(rows)


def csv_table(acts: Sequence[Act]) -> pd.DataFrame:
    """The same for a program: times in ISO 8601, ids and names apart."""
    rows = [
        {
            "time": dt.datetime.fromtimestamp(act.time).astimezone().isoformat(timespec="seconds"),
            "person": act.who,
            "did": act.kind,
            "thing": act.thing,
            "id": act.id,
            "name": act.name,
        }
        for act in acts
    ]
    return pd.DataFrame(rows)


def moment(seconds: float, now: float) -> str:
    """A time in words, such as "today 14:05", "yesterday 09:30" or "26 November 11:00", in the server's zone."""
    then, today = dt.datetime.fromtimestamp(seconds), dt.datetime.fromtimestamp(now)
    days = (today.date() - then.date()).days
    year = "" if then.year == today.year else f" {then.year}"
    day = {0: "today", 1: "yesterday"}.get(days, f"{then.day} {then:%B}{year}")
    return f"{day} {then:%H:%M}"


def _what(act: Act) -> str:
    return " ".join(filter(None, [act.thing, act.name or act.id]))
