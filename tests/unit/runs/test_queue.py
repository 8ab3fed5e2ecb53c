"""The order of waiting runs: fair between people, first come first served for each."""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labeltransfer.params import RunParams, run_params
from labeltransfer.runs.queue.order import QueueEntry, in_turn, waiting_runs
from labeltransfer.runs.records.run import GONE, Run, Status
from labeltransfer.runs.records.store import Store


@pytest.fixture
def params() -> RunParams:
    return run_params({"reference": {"path": "r.h5ad"}, "query": {"path": "q.h5ad"}})


def asked(*owners: str, since: int = 1) -> list[QueueEntry]:
    """Waiting runs, one a second; ids count the runs of all, so that they sort by time."""
    return [QueueEntry(f"{i:03d}", owner, float(i)) for i, owner in enumerate(owners, since)]


def owners(entries: list[QueueEntry]) -> str:
    return "".join(entry.owner for entry in entries)


def served(entries: list[QueueEntry], *, n_devices: int = 1, arrivals: dict[int, str] | None = None) -> str:
    """Owners in the order in which they get a device, runs taking ten seconds each and later ones coming meanwhile."""
    order, now, known = "", 100.0, list(entries)
    while any(not entry.turn for entry in known):
        for entry in in_turn(known)[:n_devices]:
            known[known.index(entry)] = replace(entry, turn=now, running=True)
            order += entry.owner
        if arrivals and len(order) in arrivals:
            known.append(QueueEntry(f"{900 + len(order)}", arrivals[len(order)], now + 5))
        now += 10.0
        known = [replace(entry, turn=now, running=False) if entry.running else entry for entry in known]
    return order


def test_without_owners_it_is_first_come_first_served() -> None:
    entries = asked(*[""] * 20)
    shuffled = random.Random(0).sample(entries, len(entries))
    running = [replace(entries[0], turn=5.0, running=True), replace(entries[1], turn=4.0)]
    assert in_turn(shuffled) == entries
    assert in_turn([*running, *entries[2:]]) == entries[2:]


def test_three_people_are_served_in_turn_no_matter_who_asked_for_more() -> None:
    assert owners(in_turn(asked(*"aaaaabbc"))) == "abcabaaa"
    assert served(asked(*"aaaaabbc")) == "abcabaaa"
    assert served(asked(*"aaaaabbc"), n_devices=2) == "abcabaaa"


def test_people_with_one_run_each_are_served_as_they_came_whatever_they_had_before() -> None:
    old = QueueEntry("000", "a", 0.0, turn=0.5)
    assert owners(in_turn([old, *asked(*"abc")])) == "abc"


def test_who_has_a_run_at_work_waits_for_who_has_none() -> None:
    running = QueueEntry("000", "a", 0.0, turn=0.5, running=True)
    assert owners(in_turn([running, *asked(*"aab")])) == "baa"


def test_who_comes_late_waits_for_one_turn_of_each_and_starves_nobody() -> None:
    assert served(asked(*"aaaaaa"), arrivals={2: "b"}) == "aabaaaa"
    # b asks again each time, as soon as the last run has begun: a is served every other time all the same.
    assert served(asked(*"aaab"), arrivals=dict.fromkeys(range(1, 9), "b")).startswith("abababb")


@pytest.mark.parametrize("seed", range(5))
def test_no_run_is_lost_and_each_owner_keeps_the_own_order(seed: int) -> None:
    rng = random.Random(seed)
    entries = [QueueEntry(f"{i:03d}", rng.choice("abcd"), float(i)) for i in range(60)]
    for i in range(0, 60, 4):
        entries[i] = replace(entries[i], turn=rng.uniform(1, 99), running=rng.random() < 0.3)
    order = in_turn(entries)
    assert sorted(c.id for c in order) == [c.id for c in entries if not c.turn]
    for owner in "abcd":
        mine = [c.id for c in order if c.owner == owner]
        assert mine == sorted(mine)


def test_the_queue_of_a_store_goes_by_owners_and_signs_of_life(tmp_path: Path, params: RunParams) -> None:
    store, now = Store(tmp_path), time.time()

    def keep(owner: str, **status: object) -> Run:
        run = store.create(params, owner)
        run.write_status(Status(**{"created": now, **status}))
        return run

    with keep("ada", state="running", started=now).worker_lock():
        ada, bob = keep("ada"), keep("bob")
        keep("bob", state="cancelled")
        killed = keep("eve", heartbeat=now)  # its worker had come, and is gone
        keep("eve", created=now - 2 * GONE)  # its worker never came
        keep("eve", created=now + 2 * GONE)  # nor did this one's, and the clock was put back since
        assert waiting_runs(store) == [bob, ada]
        assert killed.status().state == "failed"
    with ada.worker_lock():  # a worker that hangs keeps its run from nothing but its turn
        ada.write_status(Status(created=now - 900, heartbeat=now - 2 * GONE))
        assert ada.status().state == "queued" and waiting_runs(store) == [bob]
