"""The server of the app: Streamlit, with uploads that go to the disk. Start it with ``streamlit run serve.py``.

The frame stands in ``app.py``, which runs anew at each click; what stands here is made once.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from pages.shared.spooling import SpoolUploads

app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(SpoolUploads)])
