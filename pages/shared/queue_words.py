"""Places in the queue, in words."""

import time
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from labeltransfer.params import RunParams
from labeltransfer.runs.queue.devices import devices, devices_of
from labeltransfer.runs.queue.dispatching import revive
from labeltransfer.runs.queue.order import QueueEntry, entries, in_turn, waiting_runs
from labeltransfer.runs.records.store import Store, default_store
from labeltransfer.runs.start.forecast import expected_starts
from pages.door.sign_in import visitor
from pages.shared.words import about


@dataclass(frozen=True)
class Place:
    """A place in the queue for the same devices, and seconds until its turn is expected; None where unknown."""

    number: int
    of: int
    start: float | None

    def words(self, queue: str = "") -> str:
        """The place, such as 'number 2 of 3, expected to start in about 25 minutes'."""
        when = "" if self.start is None else f", expected to start in {about(self.start)}"
        return f"number {self.number} of {self.of}{queue}{when}"


def places() -> dict[str, Place]:
    """Place of every waiting run by id, whether or not the visitor may see it; at most two seconds old."""
    store = default_store()
    return _places(store.root, tuple(run.id for run in store.runs()))


@st.cache_data(ttl=2, max_entries=4, show_spinner=False)  # many may watch, each of them every second
def _places(root: Path, ids: tuple[str, ...]) -> dict[str, Place]:
    store = Store(root)
    revive(store)
    line = waiting_runs(store)
    starts = expected_starts(store.runs(), line) if line else {}
    found = {}
    for run in line:
        rivals = [other.id for other in line if devices_of(other) == devices_of(run)]
        found[run.id] = Place(rivals.index(run.id) + 1, len(rivals), starts.get(run.id))
    return found


def before_next(params: RunParams) -> str:
    """A sentence about the runs that the visitor's next one would wait for; empty where a device is free for it."""
    runs, choice = default_store().runs(), devices(params.device)
    rivals = {run.id for run in runs if devices_of(run) == choice}
    known = entries(runs)
    order = [entry.id for entry in in_turn([*known, QueueEntry("~", visitor().name, time.time())])]  # behind every id
    before = {entry.id for entry in known if entry.running} | set(order[: order.index("~")])
    n_before = len(before & rivals)
    if n_before < len(choice):
        return ""
    return f"{n_before} other {'run is' if n_before == 1 else 'runs are'} running or waiting before it."
