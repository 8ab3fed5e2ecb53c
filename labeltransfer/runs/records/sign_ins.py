"""What the home keeps of sign-in: that it was on, and which sessions have ended.

Streamlit's cookie is signed and says by itself who a person is, for thirty days. So a copy of it would outlive signing
out if the session that it belongs to were not kept here.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labeltransfer.storage import files
from labeltransfer.storage.digests import digest
from labeltransfer.storage.ledger import Ledger

WAS_ON = "sign-in-was-on"
"""Name of the file whose presence says that this server asked for sign-in once."""

LIFETIME = 31 * 86_400.0
"""Seconds after which a cookie is of no use by itself."""

SAME_SESSION = ("iss", "sub", "email", "iat", "nonce", "jti", "sid", "auth_time", "exp")
"""Claims of a token that tell one sign-in from another."""


def note_that_sign_in_is_on(home: Path) -> None:
    """Remember it, so that secrets that are lost later do not open the app; raises OSError where that fails."""
    if not was_on(home):
        files.write_atomic(home / WAS_ON, "This server asks for sign-in. Remove this file to open it to everyone.\n")


def was_on(home: Path) -> bool:
    """Whether this server asked for sign-in once; raises OSError where that cannot be known."""
    try:
        (home / WAS_ON).lstat()
    except FileNotFoundError:
        return False
    return True


def end_session(home: Path, claims: Mapping[str, Any]) -> None:
    """Let the session of these claims be over, in every copy of its cookie.

    Raises
    ------
    RunError
        What was kept before is damaged.
    """
    now = time.time()
    ledger = _ended(home)
    with ledger.changing() as ended:
        recent = {session: when for session, when in ended.items() if now - when < LIFETIME}
        ledger.write(recent | {_session(claims): now})


def is_ended(home: Path, claims: Mapping[str, Any]) -> bool:
    """Whether the session of these claims was signed out.

    Raises
    ------
    RunError
        What was kept is damaged, so nobody knows.
    """
    return _session(claims) in _ended(home).read()


def _session(claims: Mapping[str, Any]) -> str:
    own = {name: str(claims[name]) for name in SAME_SESSION if claims.get(name) is not None}
    return digest(json.dumps(own, sort_keys=True))


def _ended(home: Path) -> Ledger[dict[str, float]]:
    return Ledger(
        home / "ended-sessions.json",
        from_json=lambda held: {str(session): float(when) for session, when in held.items()},
        as_json=dict,
        empty={},
        without="let every copy of an old cookie work again",
    )
