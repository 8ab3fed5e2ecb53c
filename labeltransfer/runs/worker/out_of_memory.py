"""Whether memory ran out, by whatever exception a library says so, and the way out."""

import errno

from labeltransfer.runs.queue.devices import Device

TYPES = {"OutOfMemoryError", "ArrowMemoryError"}
"""Names of errors that say it; torch and pyarrow are not imported for it."""

WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "memory allocation failed",
    "alloc_failed",
    "bad_alloc",
)
"""Of messages, in small letters, by torch, CUDA, cuBLAS, numpy, HDF5 and the C++ library."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it arose from, says that memory ran out."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if _says_so(found):
            return True
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def memory_words(device: Device | None, stage: str) -> str:
    """What happened, where, and the way out."""
    where = f" in stage {stage}" if stage else ""
    if device is not None and device.gpu is not None:
        return (
            f"Memory ran out{where}, on {device.name} or of this machine: start the run again with fewer cells (a "
            "filter, or a smaller max_query_cells), or with device cpu where the machine has more memory than the GPU; "
            "finished stages are kept."
        )
    return (
        f"This machine's memory ran out{where}: start the run again with fewer cells (a filter, or a smaller "
        "max_query_cells), while no other run is at work, or on a machine or device with more memory; finished stages "
        "are kept."
    )


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ in TYPES:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)
