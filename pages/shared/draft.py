"""What the user is composing: the settings of the next run, kept over pages, reloads and restarts.

It lives in ``home()/drafts/<id>.json``; the id is in the address as ``draft``.
"""

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st
from filelock import FileLock
from pydantic import BaseModel, TypeAdapter

from labeltransfer.errors import DamagedError, RunError, SettingsError
from labeltransfer.params import RunParams, run_params
from labeltransfer.storage import files
from labeltransfer.storage.home import home
from labeltransfer.storage.records import read_record

SIDES = ("reference", "query")
KEPT_DAYS = 60
PATIENCE = 10.0
"""Seconds to wait for another person's choice to be written."""


@dataclass
class Draft:
    """Settings as plain data, in the shape of :class:`labeltransfer.params.RunParams`, perhaps not yet complete.

    ``notes`` holds what is no setting of a run, such as where a file was chosen from. ``revision`` grows when the
    whole is replaced: it is part of every widget's key, so that the widgets start from the new settings.
    """

    id: str = ""
    settings: dict[str, Any] = field(default_factory=lambda: {side: {} for side in SIDES})
    notes: dict[str, Any] = field(default_factory=dict)
    revision: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was chosen yet."""
        return not any(self.settings[side] for side in SIDES) and not self.notes

    @property
    def complete(self) -> bool:
        """Whether the Data page let it pass: both files and the reference's labels are chosen."""
        both = all(self.settings[side].get("path") for side in SIDES)
        return both and bool(self.settings["reference"].get("labels_key")) and not self.notes.get("blocked")

    def key(self, name: str) -> str:
        """Key of the widget called ``name``."""
        return f"draft-{self.revision}-{name}"

    def params(self, **changes: Any) -> RunParams:
        """The settings of a run, checked; raises SettingsError."""
        return run_params({**self.settings, **changes})

    def set_section(self, section: str, **values: Any) -> None:
        """Change some settings of one stage or side, and keep them."""
        before = self.settings.get(section, {})
        self.change(**{section: {**before, **values}})

    def change(self, **settings: Any) -> None:
        """Replace top-level settings, and keep them."""
        if any(self.settings.get(name) != value for name, value in settings.items()):
            self.settings.update(settings)
            self.save()

    def note(self, **notes: Any) -> None:
        """Keep something that is no setting."""
        if any(self.notes.get(name) != value for name, value in notes.items()):
            self.notes.update(notes)
            self.save()

    def save(self) -> None:
        """Write it to its file; the first time, give it an id.

        Raises
        ------
        RunError
            The disk does not take it.
        """
        folder = home() / "drafts"
        try:
            folder.mkdir(exist_ok=True)
            # Nobody takes this one for an old one while it is written.
            with FileLock(folder / ".lock", timeout=PATIENCE):
                if not self.id:
                    self.id = secrets.token_hex(8)
                    _forget_old(folder)
                files.write_json(folder / f"{self.id}.json", {"settings": self.settings, "notes": self.notes})
            st.session_state["draft"] = self.id
            st.query_params["draft"] = self.id
        except OSError as error:
            raise RunError(
                f"What you chose cannot be kept in {folder} ({error.strerror or error}): free some space."
            ) from error


def draft() -> Draft:
    """What this viewer is composing: that of this session, else the one whose id the address holds, else a new one."""
    held = st.session_state.get("draft_object")
    wanted = st.session_state.get("draft", "")
    if held is None or (wanted and held.id != wanted):
        revision = held.revision + 1 if held else 0
        held = _load(wanted) or Draft()
        held.revision = revision
        st.session_state["draft_object"] = held
        if not held.id:
            st.session_state["draft"] = ""
            st.query_params.pop("draft", None)
    return held


def replace_draft(params: RunParams | None, **notes: Any) -> Draft:
    """Start from the settings of a run, or from nothing."""
    fresh = Draft(revision=draft().revision + 1, notes=notes)
    if params is not None:
        fresh.settings = params.model_dump(mode="json", exclude={"name", "last_stage", "hidden_label"})
    st.session_state["draft_object"] = fresh
    fresh.save()
    return fresh


def draft_from_run(params: RunParams) -> Draft:
    """Start from the settings of a run, its inputs as they were."""
    notes = {"reference_source": "library" if params.mapping else "kept"}
    if params.reference_alone:
        fresh = replace_draft(params, **notes)
        fresh.change(query={})
        return fresh
    return replace_draft(params, **notes, query_source="kept")


def _load(draft_id: str) -> Draft | None:
    if not re.fullmatch(r"[0-9a-f]{16}", draft_id or ""):  # it comes out of an address
        return None
    try:
        kept = read_record(home() / "drafts" / f"{draft_id}.json", _KEPT)
        if kept is None:
            return None
        run_params(kept.settings | {side: _with_path(kept.settings[side]) for side in SIDES})
        return Draft(id=draft_id, settings=kept.settings, notes=kept.notes)
    except (DamagedError, SettingsError, KeyError, TypeError):
        st.toast("What was chosen at this address can no longer be read: choose again.", icon=":material/broken_image:")
    return None


class _Kept(BaseModel):
    """The file of a draft."""

    settings: dict[str, Any]
    notes: dict[str, Any]


_KEPT = TypeAdapter(_Kept)


def _with_path(side: dict[str, Any]) -> dict[str, Any]:
    """Settings of a side whose file need not be chosen yet, so that what is chosen can be checked."""
    return {**side, "path": side.get("path") or ""}


def _forget_old(folder: Path) -> None:
    """Delete drafts that nobody has changed for long; only called by who holds the lock."""
    limit = time.time() - KEPT_DAYS * 86_400
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if path.stat().st_mtime < limit:
                path.unlink()
