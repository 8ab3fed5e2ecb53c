"""What is promised of an error is said once, in the same words everywhere, and withdrawn by the alarm."""

from typing import Any

import pandas as pd
import pytest

from labeltransfer.results.levels.in_words import coverage_words, promise_words


def trust_with(*, kept: bool = True, alarm: str = "ok") -> dict[str, Any]:
    promise = {"kept": kept, "error_to_bear": 0.05, "n_cells": 40}
    return {"levels": {"promise": promise}, "alarm": {"level": alarm}}


@pytest.mark.parametrize("alarm", ["ok", "doubt"])
def test_a_kept_promise_names_the_error(alarm: str) -> None:
    assert "At most 5.0%" in promise_words(trust_with(alarm=alarm))


def test_the_alarm_withdraws_the_promise() -> None:
    assert promise_words(trust_with(alarm="alarm")).startswith("Nothing is promised")
    assert "alarm is up" in promise_words(trust_with(alarm="alarm"))


def test_what_could_not_be_shown_is_not_promised() -> None:
    assert "could not be shown on 40 cells" in promise_words(trust_with(kept=False))


def test_cells_are_counted_by_how_fine_their_label_is() -> None:
    levels = pd.Series(["label", "label", "Families", "none"], dtype="category")
    words = coverage_words(levels)
    assert words == "2 of 4 cells have one of the reference's labels, 1 a coarser one, 1 none."
