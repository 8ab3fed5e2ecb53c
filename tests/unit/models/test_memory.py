"""Memory freed by a training step is the next step's, and the system's again in the end."""

import ctypes
import subprocess
import sys

import pytest

from labeltransfer.models.fast.memory import kept_memory

STEPS = """
import resource
import torch
from labeltransfer.models.fast.memory import kept_memory

def step():
    arrays = [torch.zeros(2**20) for _ in range(20)]  # 4 MiB each

def pages_of(n_steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

step()
with kept_memory():
    step()
    step()
    kept, held = pages_of(3), resident()
page = resource.getpagesize()
print(kept * page, (held - resident()) * page)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone has these settings")
def test_steps_share_their_memory_and_it_is_given_back() -> None:
    output = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True).stdout
    new, given_back = (int(size) / 2**20 for size in output.split())
    assert new < 20  # of the 240 MiB that three steps take
    assert given_back > 60


def test_another_systems_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with kept_memory():
        pass
