"""What the server refuses before a page runs: other hosts' names, frames, operational figures, silent connections.

An ASGI middleware round Streamlit's own app. A page on the internet can point its own name at a visitor's machine, and
then drive an app there as if it came from the same place; only the name in the request shows it.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.responses import PlainTextResponse

from labeltransfer.config import config, variable
from labeltransfer.errors import LabelTransferError
from pages.door.entrance import read_secrets

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPERATIONAL = "/_stcore/"
USED = ("health", "host-config", "stream", "upload_file", "bidi-components")
"""What Streamlit's own page asks for below that; all else there, such as figures of the process and a way in for
programs, is answered as if there were nothing."""

HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)

FIRST_WORD = 30.0
"""Seconds that a connection may stay open without a message; Streamlit's own page sends one at once."""


MOST_OPEN = 500
"""Connections at once, a browser tab each; beyond, a tab waits. Each costs memory before anyone has signed in."""


class Doorman:
    """ASGI middleware round a Streamlit app."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.n_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        name = host_name(hosts[0].decode("latin-1")) if len(hosts) == 1 else ""
        if not name or not may_be_called(name):
            await _refuse(scope, receive, send, 421, _unknown_name(name))
        elif not _is_used(scope["path"]):
            await _refuse(scope, receive, send, 404, "Not found")
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self.app(scope, receive, _WithHeaders(send))

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.n_open >= MOST_OPEN:
            await _refuse(scope, receive, send, 503, "Too many connections at once")
            return
        self.n_open += 1
        try:
            await self.app(scope, _Impatient(receive, send), send)
        finally:
            self.n_open -= 1


def host_name(host: str) -> str:
    """Name or address in a ``Host`` header, in lower case and without its port; empty where it is no such header."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    if parts.netloc != host or parts.username is not None or parts.path or not host.isascii():
        return ""
    return (parts.hostname or "").rstrip(".")


def may_be_called(name: str) -> bool:
    """Whether browsers may reach this server by a name.

    An address in digits is nobody's name, so no other page can be meant by it. ``localhost``, this machine's own name
    and the host that sign-in leads back to are known; all others have to be set.
    """
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower() or _is_address(name):
        return True
    try:
        listed = [one.strip().lower() for one in (config().hosts or "").split(",")]
        auth = read_secrets().get("auth")
    except LabelTransferError:  # what is set cannot be read: no other name is known
        return False
    if isinstance(auth, dict):
        listed.append(host_name(urlsplit(str(auth.get("redirect_uri", ""))).netloc))
    return _is_listed(name, filter(None, listed))


def _is_listed(name: str, listed: Iterable[str]) -> bool:
    return any(one in ("*", name) or (one.startswith("*.") and name.endswith(one[1:])) for one in listed)


@cache
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _unknown_name(name: str) -> str:
    return (
        f"This server does not answer to the name {name[:100]!r}. If the name is right, the server's administrator has "
        f"to add it to {variable('hosts')}."
    )


def _is_used(path: str) -> bool:
    _, operational, rest = path.partition(OPERATIONAL)
    return not operational or rest.partition("/")[0] in USED


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect; a refusal is a 403 to the browser
        await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
        return
    response = PlainTextResponse(f"{why}\n", status_code=status)
    await response(scope, receive, _WithHeaders(send))


class _WithHeaders:
    """Adds headers to every response."""

    def __init__(self, send: Send) -> None:
        self.send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message.get("headers", []) if name.lower() not in dict(HEADERS)]
            message = {**message, "headers": [*own, *HEADERS]}
        await self.send(message)


class _Impatient:
    """Messages of a connection, which is over where none has come for too long at its beginning."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.receive, self.send, self.n_received = receive, send, 0

    async def __call__(self) -> Message:
        self.n_received += 1
        if self.n_received != 2:  # the first is the request to connect
            return await self.receive()
        with anyio.move_on_after(FIRST_WORD):
            return await self.receive()
        await self.send({"type": "websocket.close", "code": 1008, "reason": "Nothing was asked for"})
        return {"type": "websocket.disconnect", "code": 1008}
