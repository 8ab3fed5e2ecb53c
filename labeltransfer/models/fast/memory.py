"""Memory that a training step frees stays with the process, for the next step to take.

A step frees all its arrays, and glibc gives what lies together at the end of its memory back to the system: the next
step has it page by page again, each page emptied for it, which took a fifth of the seconds of scANVI's epochs.

Source: the GNU C Library Reference Manual, Malloc Tunable Parameters.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of two parameters in ``malloc.h``: how much is kept, and from what size an array is the system's own."""

KEPT = 2**30
LARGEST = 2**25
"""The largest threshold for arrays that glibc takes; by itself it works its way up to it, and to twice that kept."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed meanwhile, up to a gigabyte, and give it back in the end; without glibc nothing changes."""
    try:
        libc = ctypes.CDLL(None)
        set_parameter, give_back = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # another system's library
        yield
        return
    set_parameter(MMAP_THRESHOLD, LARGEST)
    set_parameter(TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        set_parameter(TRIM_THRESHOLD, 2 * LARGEST)
        give_back(0)
