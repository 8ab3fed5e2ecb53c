"""A browser session without a browser: Streamlit's own messages over its websocket, for load and faults.

One thread a visitor. A click is a rerun with the states of the widgets, as the browser sends it; it is over when the
script has run through and all that it draws has arrived. Nothing is drawn, and no message is taken from a browser's
cache, so the server sends every message whole: a little more than it sends to Chromium.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect

LARGEST_MESSAGE = 2**28
PATIENCE = 180.0
"""Seconds to wait for a page."""

OVER = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)


@dataclass(frozen=True)
class Shown:
    """An element on the page, the script run that drew it, and the fragment that it belongs to."""

    element: Element
    script_run: int
    fragment: str


class Visitor:
    """A session of the app on this machine.

    Parameters
    ----------
    port
        Where the app listens.
    dark
        Whether the browser prefers dark colours.
    """

    def __init__(self, port: int, *, dark: bool = False) -> None:
        self.origin = f"127.0.0.1:{port}"
        self.page = ""
        self.query: dict[str, str] = {}
        self.n_bytes = 0
        self._dark = dark
        self._hash = ""
        self._shown: dict[tuple[int, ...], Shown] = {}
        self._states: dict[str, WidgetState] = {}
        self._pages: dict[str, str] = {}
        self._script_run = 0
        self._socket = connect(
            f"ws://{self.origin}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=LARGEST_MESSAGE,
            compression=None,
            open_timeout=PATIENCE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, page: str, **query: str) -> float:
        """Go to a page by its name in the address, such as ``explore``; returns the seconds until it is there."""
        self.page, self.query, self._hash = page, query, self._pages.get(page, "")
        return self._rerun()

    def press(self, label: str) -> float:
        """Click a button."""
        return self._rerun(self._widget("button", label), trigger_value=True)

    def switch(self, label: str, on: bool) -> float:
        """Set a toggle."""
        return self._rerun(self._widget("checkbox", label), bool_value=on)

    def choose(self, label: str, option: str) -> float:
        """Choose in a select box."""
        return self._rerun(self._widget("selectbox", label), string_value=option)

    def segment(self, label: str, option: str) -> float:
        """Choose in a row of buttons."""
        shown = self._widget("button_group", label)
        return self._rerun(shown, string_array_value=[option])

    def select(self, kind: str, selection: dict[str, Any], *, which: int = 0) -> float:
        """Select in a chart or a table, ``selection`` being what the browser would say."""
        shown = [one for one in self._latest() if one.element.WhichOneof("type") == kind][which]
        return self._rerun(shown, string_value=json.dumps({"selection": selection}))

    def options(self, label: str) -> list[str]:
        """What a select box offers."""
        return list(self._widget("selectbox", label).element.selectbox.options)

    def labels(self, kind: str) -> list[str]:
        """Labels of all widgets of a kind that can be used."""
        elements = (getattr(one.element, kind) for one in self._latest() if one.element.WhichOneof("type") == kind)
        return [element.label for element in elements if not element.disabled]

    def errors(self) -> list[str]:
        """What the page says went wrong: exceptions, and errors in words."""
        found = []
        for shown in self._latest():
            kind = shown.element.WhichOneof("type")
            if kind == "exception":
                found.append(f"exception {shown.element.exception.type}: {shown.element.exception.message}")
            elif kind == "alert" and shown.element.alert.format == shown.element.alert.ERROR:
                found.append(shown.element.alert.body)
        return found

    def tables(self) -> list[bytes]:
        """Content of every table, as Arrow hands it over."""
        return [
            s.element.dataframe.arrow_data.data for s in self._latest() if s.element.WhichOneof("type") == "dataframe"
        ]

    def prose(self) -> str:
        """All headings, texts and messages of the page."""
        texts = []
        for shown in self._latest():
            kind = shown.element.WhichOneof("type")
            if kind in ("markdown", "heading", "alert"):
                texts.append(getattr(shown.element, kind).body)
        return "\n".join(texts)

    def _latest(self) -> Iterator[Shown]:
        return iter([self._shown[path] for path in sorted(self._shown)])

    def _widget(self, kind: str, label: str) -> Shown:
        for shown in self._latest():
            if shown.element.WhichOneof("type") == kind and getattr(shown.element, kind).label == label:
                return shown
        raise LookupError(f"{self.page} has no {kind} '{label}', but {self.labels(kind)}: {self.prose()[:500]}")

    def _rerun(self, widget: Shown | None = None, **value: Any) -> float:
        """Ask for a run of the script and take in what it draws; returns the seconds that this took."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string = urlencode(self.query)
        state.page_script_hash = self._hash
        state.page_name = "" if self._hash else self.page
        state.context_info.url = f"http://{self.origin}/{self.page}"
        state.context_info.color_scheme = "dark" if self._dark else "light"
        if widget is not None:
            kind = widget.element.WhichOneof("type")
            own = WidgetState(id=getattr(widget.element, str(kind)).id)
            for name, content in value.items():
                if name == "string_array_value":
                    own.string_array_value.data.extend(content)
                else:
                    setattr(own, name, content)
            state.fragment_id = widget.fragment
            state.widget_states.widgets.extend(self._states.values())
            state.widget_states.widgets.append(own)
            if "trigger_value" not in value:
                self._states[own.id] = own
        else:
            state.widget_states.widgets.extend(self._states.values())
        # A widget's new value takes the place of the old one.
        unique = {one.id: one for one in state.widget_states.widgets}
        del state.widget_states.widgets[:]
        state.widget_states.widgets.extend(unique.values())
        start = time.perf_counter()
        self._socket.send(message.SerializeToString())
        self._take_in(fragment=bool(state.fragment_id))
        return time.perf_counter() - start

    def _take_in(self, *, fragment: bool) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            data = self._socket.recv(timeout=end - time.monotonic())
            assert isinstance(data, bytes)
            self.n_bytes += len(data)
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self._script_run += 1
                self._hash = message.new_session.page_script_hash
            elif kind == "navigation":
                self._pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
                self._hash = message.navigation.page_script_hash
            elif kind == "page_info_changed":
                query = parse_qs(message.page_info_changed.query_string)
                self.query = {name: values[-1] for name, values in query.items()}
            elif kind == "delta":
                self._draw(tuple(message.metadata.delta_path), message.delta)
            elif kind == "script_finished":
                if message.script_finished in OVER:
                    self._shown = {p: s for p, s in self._shown.items() if s.script_run == self._script_run}
                    return
                if fragment and message.script_finished == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY:
                    return

    def _draw(self, path: tuple[int, ...], delta: Any) -> None:
        kind = delta.WhichOneof("type")
        if kind == "new_element":
            self._shown[path] = Shown(delta.new_element, self._script_run, delta.fragment_id)


def wait_until(condition: Callable[[], bool], seconds: float, *, every: float = 0.1) -> bool:
    """Look again and again until it is so; False where it was not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
