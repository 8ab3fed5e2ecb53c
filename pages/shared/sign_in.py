"""Sign-in through OpenID Connect, where this server asks for it."""

from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from labeltransfer.config import config
from labeltransfer.runs.records.access import Person
from pages.shared.noted_sign_in import note_sign_in


def require_sign_in() -> None:
    """Stop here unless the visitor has signed in, where this server asks for it.

    It does with an ``[auth]`` section in the secrets, or with ``LABELTRANSFER_SIGN_IN=required``; with the second
    alone no one gets in, so that a lost secrets file never opens the app.
    """
    if not sign_in_is_on():
        return
    if _secrets("auth") is None:
        st.error(
            "This server asks for sign-in, but none is set up: its administrator has to add [auth] to the secrets."
        )
        st.stop()
    if not st.user.get("is_logged_in", False):
        st.title("Sign in", anchor=False)
        st.write("This server asks who you are before it shows its runs.")
        if st.button("Sign in", type="primary", icon=":material/login:"):
            st.login()
        st.stop()
    if not _may_enter():
        st.error(f"{st.user.get('email', 'This account')} is not on this server's list: ask its administrator.")
        if st.button("Sign in as someone else"):
            st.logout()
        st.stop()
    note_sign_in(visitor().name, st.user.get("iat"))


def sign_in_is_on() -> bool:
    """Whether this server asks who its visitors are."""
    return _secrets("auth") is not None or config().sign_in == "required"


def visitor() -> Person:
    """Who looks at the page: by e-mail address in lower case, admin if ``[access] admins`` in the secrets names it.

    Without an address that the provider vouches for, a person goes by the account's own id.
    """
    if not sign_in_is_on():
        return Person()
    email = _email()
    if not email:
        return Person(f"account {st.user.get('sub', '')}".strip(), admin=False)  # no address: those hold no space
    admins = {str(e).strip().lower() for e in (_secrets("access") or {}).get("admins", [])}
    return Person(email, admin=email in admins)


def _may_enter() -> bool:
    access = _secrets("access")
    if access is None or set(access) == {"admins"}:
        return True
    email = _email()
    allowed = {str(e).lower() for e in [*access.get("emails", []), *access.get("admins", [])]}
    domains = {str(d).lower() for d in access.get("domains", [])}
    return "@" in email and (email in allowed or email.rpartition("@")[2] in domains)


def _email() -> str:
    """The visitor's address in lower case; empty where there is none, or the provider says that it is not verified."""
    verified = str(st.user.get("email_verified", True)).lower() != "false"  # some send the word
    return str(st.user.get("email") or "").strip().lower() if verified else ""


def _secrets(section: str) -> dict[str, Any] | None:
    try:
        return dict(st.secrets[section])
    except (StreamlitSecretNotFoundError, KeyError):
        return None
