"""What one session sends: where its uploads arrive, and how a page takes them.

Streamlit keeps an upload in the app's memory for as long as the session lasts. With :mod:`pages.uploads.spooling` in
front of it, it gets an empty file, and the content is on the disk under the file's id. The two parts meet in
``INBOXES``: a page that shows an uploader opens the session's inbox, and without one nothing is received.
"""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from labeltransfer.errors import InputError, LabelTransferError
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.space import disk, quotas
from labeltransfer.storage import uploads
from labeltransfer.storage.uploads import ReceivedFile
from labeltransfer.units import size
from pages.door.sign_in import visitor

MEGABYTE = 1 << 20
"""Bytes of a megabyte as Streamlit counts them in ``server.maxUploadSize``."""

MOST_WAITING = 8
"""Files of one session that are on their way or wait for a page to take them."""


@dataclass
class Inbox:
    """The uploads of one session, each by the id that Streamlit gave it."""

    session_id: str
    owner: str = ""
    room: int | None = None  # bytes that the owner may still send, where there is a limit
    most: int | None = None  # bytes that all of the owner's arriving files may have, in whichever session
    arrived: dict[str, ReceivedFile | LabelTransferError] = field(default_factory=dict)
    n_coming: int = 0  # uploads on their way; counted by the server's own thread alone
    lock: Lock = field(default_factory=Lock)

    def no_room(self) -> str:
        """What is said of a file that is larger than the room."""
        return (
            f"The file is larger than the {size(self.room or 0)} that are left for it on this server: clean up on the "
            "Runs page, or ask its administrator."
        )

    def put(self, file_id: str, what: ReceivedFile | LabelTransferError) -> None:
        """Note what has arrived, or why it has not."""
        self.drop(file_id)
        with self.lock:
            self.arrived[file_id] = what
            faults = [name for name, found in self.arrived.items() if isinstance(found, LabelTransferError)]
            for name in faults[:-MOST_WAITING]:
                del self.arrived[name]

    @property
    def full(self) -> bool:
        """Whether as many files are on their way, or wait for a page, as one session may have."""
        with self.lock:
            waiting = sum(isinstance(found, ReceivedFile) for found in self.arrived.values())
        return self.n_coming + waiting >= MOST_WAITING

    def take(self, file_id: str) -> ReceivedFile | None:
        """What has arrived under an id, once: its part is the caller's. None where it did not come this way.

        Raises
        ------
        LabelTransferError
            It could not be received.
        """
        with self.lock:
            found = self.arrived.get(file_id)
            if isinstance(found, LabelTransferError):
                raise found
            self.arrived.pop(file_id, None)
            return found

    def drop(self, file_id: str) -> None:
        """Remove an upload that no page has taken yet."""
        with self.lock:
            found = self.arrived.pop(file_id, None)
        if isinstance(found, ReceivedFile):
            found.discard()

    def close(self) -> None:
        """Remove what no page has taken; nothing more is received."""
        if INBOXES.get(self.session_id) is self:
            del INBOXES[self.session_id]
        for file_id in list(self.arrived):
            self.drop(file_id)


INBOXES: dict[str, Inbox] = {}
"""By session id, for as long as the session is connected."""


@st.cache_resource(scope="session", on_release=Inbox.close, show_spinner=False)
def _inbox() -> Inbox:
    context = get_script_run_ctx()
    return Inbox(context.session_id if context else "")


def largest_upload() -> int:
    """Bytes that one upload may have, ``server.maxUploadSize``."""
    return int(st.get_option("server.maxUploadSize")) * MEGABYTE


def upload(label: str, suffixes: list[str], *, key: str, about: str | None = None) -> tuple[str, Path] | None:
    """Show an uploader; returns the id and the path of what was sent, or None where nothing was.

    Raises
    ------
    LabelTransferError
        The file could not be received, or there is no room for it.
    """
    inbox = _inbox()
    inbox.owner = visitor().name
    store = default_store()
    inbox.room = quotas.room(store, inbox.owner)
    there = sum(map(disk.bytes_of, uploads.arriving(store.root, inbox.owner)))
    inbox.most = None if inbox.room is None else inbox.room + there
    INBOXES[inbox.session_id] = inbox
    if inbox.room is not None and inbox.room < MEGABYTE:
        st.caption(quotas.no_room(default_store(), inbox.owner))
        return None
    # The room is not its limit: an uploader whose limit changes is another one to Streamlit, and loses what it holds.
    sent = st.file_uploader(label, type=suffixes, key=key, help=about)
    if inbox.room is not None and inbox.room < largest_upload():
        st.caption(f"{size(inbox.room)} are left for it on this server.")
    if sent is None:
        return None
    place = f"upload-{sent.file_id}"  # in the session, which outlives a lost connection
    if place not in st.session_state:
        arrived = inbox.take(sent.file_id) or _from_memory(sent, inbox.owner)
        st.session_state[place] = str(keep(arrived, sent.name, inbox.owner))
    return sent.file_id, Path(st.session_state[place])


def _from_memory(sent: Any, owner: str) -> ReceivedFile:
    """What Streamlit holds itself, as it does where our server is not in front of it, as in its test runner."""
    if not sent.size:
        raise InputError("The upload is empty, or was lost with its connection: send it again.")
    sent.seek(0)
    return uploads.receive(sent, owner)


def keep(arrived: ReceivedFile, name: str, owner: str) -> Path:
    """Keep what has arrived, if its owner has room for it; else it is removed, and LabelTransferError raised."""
    store = default_store()
    try:
        with store.lock("runs"):  # two at once cannot both be the last that there is room for
            quotas.check_disk(store, owner, arrived=arrived.part)
            return uploads.keep(arrived, name, owner)
    except BaseException:
        arrived.discard()
        raise
