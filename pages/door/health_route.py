"""An address that says whether this server can work, for a proxy, a monitor or Docker: ``/healthz``.

It says ``ok`` or ``not ok`` and nothing else, for it answers before anyone has signed in. Why is for admins: on
Activity, and ``labeltransfer health``.
"""

import time
from threading import Lock

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from labeltransfer.runs.health.health import can_work

ADDRESS = "/healthz"

FRESH = 5.0
"""Seconds for which an answer holds: however often it is asked, the disk is looked at no more often."""


class _Look:
    """The last look at the disk, and when it was."""

    def __init__(self) -> None:
        self._lock, self._until, self._well = Lock(), 0.0, False

    def well(self) -> bool:
        with self._lock:
            if time.monotonic() >= self._until:
                self._well = can_work()
                self._until = time.monotonic() + FRESH
            return self._well


def health_route() -> Route:
    """The route, for the server."""
    look = _Look()

    async def answer(_: Request) -> PlainTextResponse:
        well = await to_thread.run_sync(look.well)
        words, status = ("ok", 200) if well else ("not ok", 503)
        return PlainTextResponse(words, status, headers={"Cache-Control": "no-store"})

    return Route(ADDRESS, answer)
