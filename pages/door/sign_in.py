"""Sign-in through OpenID Connect, where this server asks for it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import streamlit as st

from labeltransfer.config import config, variable
from labeltransfer.errors import LabelTransferError
from labeltransfer.runs.records import sign_ins
from labeltransfer.runs.records.access import Person
from labeltransfer.storage.home import home
from pages.door.entrance import Rules, rules
from pages.door.noted_sign_in import note_sign_in
from pages.door.plain import plain


def require_sign_in() -> None:
    """Stop here unless the visitor has signed in, where this server asks for it; where that is unknown, stop too."""
    if _admitted() is not None:
        note_sign_in(visitor().name, st.user.get("iat"))


def sign_in_is_on() -> bool:
    """Whether this server asks who its visitors are; stops where the visitor may not enter."""
    return _admitted() is not None


def visitor() -> Person:
    """Who looks at the page: by e-mail address in lower case, admin if ``[access] admins`` in the secrets names it.

    Without an address that the provider vouches for, a person goes by the account's own id. Where nobody may enter, the
    page stops here: fragments and callbacks run without the page's first lines.
    """
    admitted = _admitted()
    if admitted is None:
        return Person()
    email = _email()
    if not email:
        return Person(f"account {st.user.get('sub', '')}".strip(), admin=False)  # no address: those hold no space
    return Person(email, admin=email in admitted.admins)


def sign_out() -> None:
    """End the visitor's session, in this browser and in every copy of its cookie.

    Raises
    ------
    RunError
        It cannot be kept that the session ended; it then has not.
    """
    sign_ins.end_session(home(), st.user.to_dict())
    st.logout()


def fragment(*, run_every: float | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``st.fragment`` that asks who is there each time, as a page does: Streamlit runs a fragment without its page."""

    def decorate(draw: Callable[..., None]) -> Callable[..., None]:
        @wraps(draw)
        def asked(*args: Any, **kwargs: Any) -> None:
            require_sign_in()
            draw(*args, **kwargs)

        decorated: Callable[..., None] = st.fragment(asked, run_every=run_every)
        return decorated

    return decorate


def _admitted() -> Rules | None:
    """The rules by which the visitor has entered; None where nobody is asked. Stops the script for everyone else."""
    try:
        root = home()  # looks at the disk: once for all that is asked of it
        asked = rules(root)
        if asked is None:
            return None
        signed_in = st.user.get("is_logged_in", False) is True and not sign_ins.is_ended(root, st.user.to_dict())
    except (LabelTransferError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.stop()
    if not signed_in:
        st.title("Sign in", anchor=False)
        st.write("This server asks who you are before it shows its runs.")
        if st.button("Sign in", type="primary", icon=":material/login:"):
            st.login()
        st.stop()
    if not asked.let_in(_email()):
        who = plain(str(st.user.get("email") or "This account"))
        st.error(f"{who} is not on this server's list{_why_not()}: ask its administrator.")
        if st.button("Sign in as someone else"):
            sign_out()
        st.stop()
    return asked


def _why_not() -> str:
    """That the provider does not vouch for an address, where it does not."""
    if st.user.get("email") and not _email():
        return f", as the identity provider does not say that the address is verified ({variable('email_verified')})"
    return ""


def _email() -> str:
    """The visitor's address in lower case; empty where there is none that the provider vouches for, or it is not ASCII.

    Other letters fold to ASCII ones: the Kelvin sign to k.
    """
    email = str(st.user.get("email") or "").strip()
    said = str(st.user.get("email_verified", config().email_verified == "assumed")).lower()  # some send the word
    return email.lower() if said == "true" and email.isascii() else ""
