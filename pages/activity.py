"""For admins: whether the server is well, and who did what."""

import streamlit as st

from pages.activity_parts.health_view import health_row
from pages.activity_parts.history import history
from pages.door.sign_in import visitor
from pages.shared.frame import catching, guard, page_header

guard()
page_header("Activity")
if not visitor().admin:
    st.info("Only an admin of this server sees who did what on it.", icon=":material/lock:")
    st.stop()

with catching():
    st.subheader("Health", anchor=False, help="As of now. The same on the command line: `labeltransfer health`.")
    health_row()
with catching():
    st.subheader(
        "Who did what", anchor=False, help="Names of people, runs, uploads and references; nothing of what is in them."
    )
    history()
