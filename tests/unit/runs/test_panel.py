"""How a run asks its classifiers: one that fails sits out, a cancelled run stops, and nothing else is lost."""

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from labeltransfer.classifiers import PanelData, Voter
from labeltransfer.classifiers.contract import Progress
from labeltransfer.errors import RunCancelled
from labeltransfer.runs.worker.makers.opinions import LONGEST_REASON, ask

NAMES = ["B", "T"]
DATA = PanelData(
    labels=np.array(["B", "T", "Unknown"], dtype=object),
    training_rows=np.array([0, 1]),
    names=NAMES,
    latent=np.zeros((3, 1), np.float32),
    near=None,
    counts=lambda: pytest.fail("no counts are needed"),
    n_counts=np.ones(3),
    is_query=np.array([False, False, True]),
)


class Sound(Voter):
    """Says the first label of every cell."""

    name, title, description, needs = "sound", "Sound", "Says the first label.", "latent"
    effort = 3.0
    value = 1.0

    def fit(self, data: PanelData) -> None:
        """Nothing to learn."""

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """All for the first label."""
        progress(0.5)
        return pd.DataFrame({"B": [self.value] * 3, "T": [0.0] * 3})


class Broken(Sound):
    """Fails as a library does."""

    name = "broken"

    def fit(self, data: PanelData) -> None:
        """Fail."""
        raise ZeroDivisionError("x" * 1000)


class Blank(Sound):
    """Gives no numbers."""

    name = "blank"
    value = float("nan")


class OutOfMemory(Sound):
    """Takes more memory than there is."""

    name = "large"

    def fit(self, data: PanelData) -> None:
        """Fail."""
        raise MemoryError("Unable to allocate 80 GiB")


def test_a_classifier_that_fails_sits_out_and_says_why() -> None:
    shares: list[float] = []
    softs, absent = ask([Broken, Sound, Blank], DATA, seed=0, progress=shares.append)
    assert list(softs) == ["sound"]
    assert absent["broken"].startswith("ZeroDivisionError: xxx") and len(absent["broken"]) <= LONGEST_REASON
    assert "no numbers" in absent["blank"]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)


def test_a_cancelled_run_asks_no_further() -> None:
    def cancelled(share: float) -> None:
        raise RunCancelled("stop")

    with pytest.raises(RunCancelled):
        ask([Sound], DATA, seed=0, progress=cancelled)


def test_memory_that_runs_out_is_no_fault_of_a_classifier() -> None:
    with pytest.raises(MemoryError):
        ask([OutOfMemory], DATA, seed=0, progress=lambda share: None)


def test_without_other_classifiers_nothing_is_asked() -> None:
    assert ask([], DATA, seed=0, progress=lambda share: None) == ({}, {})


def test_how_many_cores_are_free_changes_no_label() -> None:
    threads: list[int] = []

    class Counting(Sound):
        """Looks at the threads that it is given."""

        def fit(self, data: PanelData) -> None:
            """Note the threads of each library that multiplies."""
            threads.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    ask([Counting], DATA, seed=0, progress=lambda share: None)
    assert threads and set(threads) == {1}
