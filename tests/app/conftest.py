"""What several test modules of pages use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from labeltransfer.runs.records.run import Run
from tests.support.pages import finished_run


@pytest.fixture
def no_caches(lt_home: Path) -> Iterator[None]:
    """A home of its own for a test, and no table of another's."""
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def run() -> Run:
    """A finished run made by hand."""
    return finished_run()
