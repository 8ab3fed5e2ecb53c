"""Widgets that several pages use; labels, help and bounds of a setting come from ``labeltransfer.params``."""

from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

import altair as alt
import pandas as pd
import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labeltransfer.results.figures.confusion_matrix import label_axis
from pages.shared.words import plain

SEVERITY_ICONS = {"error": ":material/error:", "warning": ":material/warning:", "note": ":material/info:"}
CHOICES_IN_SIGHT = 4


def setting_input(model_cls: type[BaseModel], field_name: str, value: Any, key: str, *, disabled: bool = False) -> Any:
    """Show the widget of one setting and return what it holds.

    Parameters
    ----------
    model_cls, field_name
        The settings model and its field: gives name, help, type and bounds.
    value
        What it shows at first; None takes the default.
    key
        Key of the widget in the session.
    disabled
        Show it, but let no one change it.
    """
    field = model_cls.model_fields[field_name]
    title, about = field.title or field_name, field.description
    kind, optional = _kind(field)
    value = field.default if value is None and not optional else value
    if get_origin(kind) is Literal:
        return _choice(title, list(get_args(kind)), value, about, key, disabled)
    if kind is bool:
        return st.toggle(title, value, key=key, help=about, disabled=disabled)
    if kind in (int, float):
        low, high = _bounds(field)
        about = f"{about} From {low:g} to {high:g}." if low is not None and high is not None else about
        # A number that may be empty is seeded: emptied, it would jump back to a value given here. Others are given
        # theirs: a seed that is lost on a slow way to the browser would leave the lowest number there is.
        if optional and key not in st.session_state:
            st.session_state[key] = _as(kind, value)
        return st.number_input(
            title,
            min_value=_as(kind, low),
            max_value=_as(kind, high),
            value=None if optional else _as(kind, value),
            step=1 if kind is int else _float_step(high),
            format=None if kind is int else "%g",
            placeholder="automatic",
            key=key,
            help=about,
            disabled=disabled,
        )
    longest = next((m.max_length for m in field.metadata if hasattr(m, "max_length")), None)
    text = st.text_input(title, value or "", key=key, help=about, disabled=disabled, max_chars=longest)
    return text or (None if optional else "")


def optional_select(
    title: str, options: list[str], value: str | None, key: str, *, empty: str, about: str
) -> str | None:
    """A select box that can be emptied again; ``empty`` says what that means."""
    if key not in st.session_state:  # a preset index could not be cleared
        st.session_state[key] = value if value in options else None
    return st.selectbox(title, options, index=None, placeholder=empty, key=key, help=about)


def settings_grid(
    model_cls: type[BaseModel], names: Iterable[str], values: dict[str, Any], key: str, *, columns: int = 3
) -> dict[str, Any]:
    """Show several settings of one model side by side; returns what they hold, by name."""
    held = {}
    grid = st.grid(columns, min_column_width=180)
    for name in names:
        with grid.cell():
            held[name] = setting_input(model_cls, name, values.get(name), f"{key}-{name}")
    return held


def show_findings(findings: Iterable[Any], *, fold_notes: bool = True) -> None:
    """Show an input report: what needs doing in sight, notes folded away if wanted."""
    found = list(findings)
    for finding in (f for f in found if f.severity == "error"):
        st.error(_finding_text(finding), icon=SEVERITY_ICONS["error"], title=plain(finding.title))
    for finding in (f for f in found if f.severity == "warning"):
        st.warning(_finding_text(finding), icon=SEVERITY_ICONS["warning"], title=plain(finding.title))
    notes = [f for f in found if f.severity == "note"]
    if notes:
        title = f"{len(notes)} {'note' if len(notes) == 1 else 'notes'}"
        with st.expander(title, icon=SEVERITY_ICONS["note"]) if fold_notes else st.container():
            for finding in notes:
                st.markdown(f"**{plain(finding.title)}**  \n{_finding_text(finding)}")
    if not found:
        st.caption(":material/check_circle: No problems found.")


def composition_chart(counts: pd.Series, *, unlabelled: int, colour: str, alt_text: str, top: int = 18) -> None:
    """Bars of the number of cells per label, largest first; what is beyond ``top`` is summed up in one bar."""
    top = top + 1 if len(counts) == top + 1 else top
    shown = counts.iloc[:top].rename_axis("label").reset_index(name="cells")
    shown["kind"] = "label"
    rest = counts.iloc[top:]
    extra = [(f"{len(rest)} more labels", int(rest.sum()), "sum")] if len(rest) else []
    extra += [("no label", unlabelled, "none")] if unlabelled else []
    shown = pd.concat([shown, pd.DataFrame(extra, columns=["label", "cells", "kind"])], ignore_index=True)
    shown["label"] = shown["label"].astype(str)
    bars = (
        alt.Chart(shown)
        .mark_bar(cornerRadiusEnd=2, color=colour)
        .encode(
            x=alt.X("cells:Q", title="Cells", axis=alt.Axis(tickMinStep=1, tickCount=4, format=",d")),
            y=alt.Y("label:N", sort=None, title=None, axis=label_axis(28)),
            opacity=alt.Opacity(
                "kind:N", scale=alt.Scale(domain=["label", "sum", "none"], range=[1, 0.6, 0.35]), legend=None
            ),
            tooltip=[alt.Tooltip("label:N", title="Label"), alt.Tooltip("cells:Q", title="Cells", format=",")],
        )
        .properties(height=alt.Step(15))
    )
    st.altair_chart(bars, width="stretch", alt=alt_text)


def _finding_text(finding: Any) -> str:
    text = plain(finding.detail)
    return f"{text} {plain(finding.way_out)}" if finding.way_out else text


def _choice(title: str, options: list[str], value: Any, about: str | None, key: str, disabled: bool) -> Any:
    if len(options) <= CHOICES_IN_SIGHT:
        return st.segmented_control(
            title, options, default=value, key=key, help=about, required=True, disabled=disabled
        )
    index = options.index(value) if value in options else 0
    return st.selectbox(title, options, index=index, key=key, help=about, disabled=disabled)


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """Type of a setting without ``| None``, and whether that was there."""
    parts = [t for t in get_args(field.annotation) if t is not type(None)]
    if get_origin(field.annotation) is Literal or not parts:
        return field.annotation, False
    return parts[0], len(parts) < len(get_args(field.annotation))


def _bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    return low, high


def _as(kind: type, number: float | None) -> Any:
    return None if number is None else kind(number)


def _float_step(high: float | None) -> float:
    return 1e-4 if high is not None and high <= 0.1 else 0.05
