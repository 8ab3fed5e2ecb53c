"""Whether this server asks who its visitors are, and whom it lets in: its variables, its secrets, what the home kept.

What is unknown or unreadable closes: then :func:`rules` raises, and nobody enters.
"""

import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from labeltransfer.config import check_variables, config
from labeltransfer.errors import SettingsError
from labeltransfer.runs.records import sign_ins

NEEDED = ("redirect_uri", "cookie_secret")
OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
"""What [auth] has to hold; of the second, one that has providers of its own holds them there."""

LEAST_SECRET = 32
"""Characters of a cookie secret: with one that can be guessed, anyone signs in as anyone."""

EXAMPLE = "a long random text"
"""How the cookie secret of the example file begins, which is public."""

_MEND = "its administrator has to correct the secrets"


@dataclass(frozen=True)
class Rules:
    """Who may enter: verified e-mail addresses in lower case, and domains; ``limited`` where not everybody may."""

    emails: frozenset[str]
    domains: frozenset[str]
    admins: frozenset[str]
    limited: bool

    def let_in(self, email: str) -> bool:
        """Whether a person may enter; ``email`` is empty where nobody vouches for it."""
        listed = email in self.emails | self.admins or email.rpartition("@")[2] in self.domains
        return not self.limited or ("@" in email and listed)


def rules(root: Path) -> Rules | None:
    """Whom this server lets in; None where it asks nobody who they are.

    It asks where the secrets have ``[auth]``, and from then on: the home remembers that it did.

    Parameters
    ----------
    root
        The app's own folder, which remembers it.

    Raises
    ------
    SettingsError
        A variable or the secrets cannot be used, or sign-in was on and its secrets are gone: nobody enters.
    OSError
        The folder cannot be read or written.
    """
    check_variables()
    secrets = read_secrets()
    if "auth" in secrets:
        found = _rules(secrets)
        sign_ins.note_that_sign_in_is_on(root)
        return found
    if sign_ins.was_on(root):
        raise SettingsError(
            "Sign-in was on here, and its secrets are gone: nobody can enter until the administrator puts secrets.toml "
            f"with [auth] back. To open the app to everyone, remove {sign_ins.WAS_ON} from the app's folder."
        )
    if "access" in secrets or config().sign_in == "required":
        raise SettingsError(
            "This server asks for sign-in, but none is set up: its administrator has to add [auth] to the secrets."
        )
    return None


def read_secrets() -> dict[str, Any]:
    """All sections of the secrets; none where there is no such file.

    Raises
    ------
    SettingsError
        There is such a file, and it cannot be read: a quote is missing, or this user may not open it.
    """
    try:
        return dict(st.secrets.to_dict())
    except StreamlitSecretNotFoundError as error:  # also where a file is damaged
        if not any(os.path.lexists(path) for path in st.get_option("secrets.files")):
            return {}
        why: Exception = error
    except (OSError, ValueError) as error:
        why = error
    _log(str(why))
    raise SettingsError(
        "The server's secrets.toml is there, but it cannot be read, so nobody can enter: its administrator has to "
        "correct it. The server's log says what is wrong."
    )


@cache
def _log(why: str) -> None:
    """Once for each reason: with its path, which visitors need not know."""
    logging.getLogger("labeltransfer").error("The secrets cannot be read: %s", why)


def _rules(secrets: dict[str, Any]) -> Rules:
    # [acces] would otherwise let in everyone whom the provider knows.
    if unknown := sorted(secrets.keys() - {"auth", "access"}):
        raise SettingsError(f"The secrets have '{unknown[0]}', which is neither [auth] nor [access]: {_MEND}.")
    auth, access = secrets["auth"], secrets.get("access", {})
    if not isinstance(auth, dict) or not isinstance(access, dict):
        raise SettingsError(f"[auth] or [access] is no section: {_MEND}.")
    providers = [part for part in auth.values() if isinstance(part, dict)] or [auth]
    missing = [name for name in NEEDED if not _has(auth, name)]
    missing += [name for name in OF_PROVIDER for one in providers if not (_has(one, name) or _has(auth, name))]
    if missing:
        raise SettingsError(f"[auth] has no {missing[0]}: {_MEND}.")
    if len(auth["cookie_secret"]) < LEAST_SECRET or auth["cookie_secret"].startswith(EXAMPLE):
        raise SettingsError(
            f"The cookie_secret of [auth] can be guessed, so nobody can enter: its administrator has to give at least "
            f"{LEAST_SECRET} random characters, for example from: openssl rand -hex 32."
        )
    if unknown := sorted(access.keys() - {"emails", "domains", "admins"}):
        raise SettingsError(f"[access] has '{unknown[0]}'; it takes emails, domains and admins: {_MEND}.")
    return Rules(
        emails=_listed(access, "emails"),
        domains=_listed(access, "domains"),
        admins=_listed(access, "admins"),
        limited=bool(access.keys() - {"admins"}) or ("access" in secrets and not access),
    )


def _has(section: dict[str, Any], name: str) -> bool:
    return isinstance(section.get(name), str) and bool(section[name].strip())


def _listed(access: dict[str, Any], name: str) -> frozenset[str]:
    """Addresses or domains of one list in lower case; ASCII alone, so that no two letters fold to one."""
    given = access.get(name, [])
    if not isinstance(given, list) or not all(isinstance(entry, str) and entry.isascii() for entry in given):
        raise SettingsError(f"{name} of [access] has to be a list of addresses in ASCII, in quotes: {_MEND}.")
    return frozenset(entry.strip().lower() for entry in given) - {""}
