"""Wait for what happens in another thread or process, or in a browser."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, seconds: float = 120, pause: float = 0.05) -> T:
    """Look again and again until a condition holds; returns what it returned.

    ``seconds`` only bound the wait for what never happens: a busy machine may take long, and no test depends on it.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not so after {seconds:.0f} s"
        time.sleep(pause)
    return found
