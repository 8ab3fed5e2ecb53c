"""Every setting of a run as a table."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import BaseModel

from labeltransfer.params import Params, RunParams


def settings_table(params: RunParams) -> None:
    """Show every setting of a run by its plain name."""
    table = pd.DataFrame(_rows(params, "run"), columns=["Of", "Setting", "Value"])
    st.dataframe(table, hide_index=True, height=360, alt="Table: every setting of the run.")


def _rows(settings: BaseModel, section: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Params):
            yield from _rows(value, name)
        else:
            off = value is None and section == "run"  # those of a single stage are chosen by it, these do nothing
            yield section, field.title or name, "none" if off else _words(value)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k} = {', '.join(v)}" for k, v in value.items()) or "none"
    return "automatic" if value is None else "yes" if value is True else "no" if value is False else str(value)
