"""Note for admins that a person signed in: once for each sign-in, however many pages and tabs follow from it."""

import time
from contextlib import suppress
from threading import Lock
from typing import Any

from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.records.activity import note
from labeltransfer.runs.records.store import default_store

NEW = 600.0
"""Seconds since the identity provider's word in which a visitor has just signed in; later, a cookie has kept it."""

MOST = 1_000
"""Sign-ins that are remembered."""

_noted: dict[tuple[str, str], None] = {}
_lock = Lock()


def note_sign_in(who: str, issued: Any) -> None:
    """Note a sign-in that is new to this process.

    Parameters
    ----------
    who
        The visitor's name, as of an owner.
    issued
        When the identity provider issued its word for them, its claim ``iat`` in seconds since the epoch.
    """
    key = (who, str(issued))
    with _lock:
        if key in _noted:
            return
        _noted[key] = None
        while len(_noted) > MOST:
            del _noted[next(iter(_noted))]
    if isinstance(issued, int | float) and time.time() - issued > NEW:  # from before this process was started
        return
    with suppress(LabelTransferError):
        note(default_store().root, "signed in", who)
