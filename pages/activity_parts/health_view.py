"""Whether the server is well, in one row."""

import streamlit as st

from labeltransfer.runs.health.health import health
from labeltransfer.units import counted, size
from pages.shared.words import duration, plain


def health_row() -> None:
    """Disk, queue and workers; what is wrong, in sentences."""
    found = health()
    for problem in found.problems:
        st.error(plain(problem), icon=":material/error:")
    if found.ok:
        st.caption(":material/check_circle: All is well: the app's folder can be written to, and every worker answers.")
    if not found.home:
        return
    queue = found.queue
    with st.container(horizontal=True):
        st.metric(
            "Free disk",
            size(found.free_bytes),
            help=f"Of {size(found.total_bytes)}, on the disk of {plain(found.home)}.",
            width="content",
        )
        st.metric("Running", counted(queue.running, "run"), width="content")
        st.metric("Waiting", counted(queue.waiting, "run"), width="content")
        if queue.waiting:
            st.metric("Longest wait", duration(queue.longest_wait), help="Of those that wait now.", width="content")
