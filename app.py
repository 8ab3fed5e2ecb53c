"""The app: its server, and the frame of every page with page config, sign-in and the steps on top.

``streamlit run app.py`` imports this file once for the server, and runs it again at each click for the frame.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import streamlit as st
from starlette.middleware import Middleware

from labeltransfer.config import check_variables
from labeltransfer.errors import SettingsError
from labeltransfer.storage.home import keep_files_private
from pages.door.doorman import Doorman
from pages.door.health_route import health_route
from pages.door.sign_in import require_sign_in, sign_out, visitor
from pages.shared.frame import (
    ACTIVITY_PAGE,
    REFERENCES_PAGE,
    RUNS_PAGE,
    STEP_ICONS,
    STEPS,
    catching,
    enter_frame,
    go,
    step_states,
    wanted_page,
)
from pages.shared.words import plain
from pages.uploads.spooling import SpoolUploads

ICON = Path(__file__).parent / "pages" / "shared" / "icon.png"


def frame() -> None:
    """Draw what surrounds every page, and the page."""
    # Our own icon: Streamlit would fetch a named one from the internet.
    st.set_page_config(
        page_title="Label transfer", page_icon=str(ICON), layout="wide", initial_sidebar_state="collapsed"
    )
    enter_frame()
    require_sign_in()

    pages = []
    with catching():
        states = step_states()
        for step in STEPS:
            state, why = states[step.key]
            pages.append(
                st.Page(
                    step.file,
                    title=step.title,
                    icon=STEP_ICONS[state],
                    help=f"{step.about} {why}",
                    default=step.key == "data",
                    url_path="start" if step.key == "data" else None,  # never seen: the first page lives at "/" alone
                )
            )
        # Without this one, the first page's own name in an address would be answered with "Page not found".
        pages.append(st.Page(partial(go, "pages/data.py"), title="Data", url_path="data", visibility="hidden"))
        about = "Published references, to map queries onto without training again."
        pages.append(st.Page(REFERENCES_PAGE, title="References", icon=":material/library_books:", help=about))
        pages.append(st.Page(RUNS_PAGE, title="Runs", icon=":material/list:", help="Running, queued and past runs."))
        seen: Literal["visible", "hidden"] = "visible" if visitor().name and visitor().admin else "hidden"
        about = "Who did what on this server, and whether it is well."
        pages.append(st.Page(ACTIVITY_PAGE, title="Activity", icon=":material/history:", help=about, visibility=seen))
    if not pages:  # the app's own folder cannot be used: said above
        st.stop()

    page = st.navigation(pages, position="top")
    if wanted := wanted_page():
        go(wanted)
    if st.user.get("is_logged_in", False):
        with st.sidebar:
            st.caption(f"Signed in as {plain(str(st.user.get('email') or st.user.get('name', '')))}")
            with catching():
                if st.button("Sign out", icon=":material/logout:"):
                    sign_out()
    page.run()


if __name__ == "__main__":
    frame()
else:
    try:
        check_variables()
        keep_files_private()
    except SettingsError as error:
        raise SystemExit(f"The app does not start. {error}") from error
    app = st.App(Path(__file__), middleware=[Middleware(Doorman), Middleware(SpoolUploads)], routes=[health_route()])
