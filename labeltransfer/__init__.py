"""labeltransfer: carry cell-type labels from an annotated reference to new cells.

From Python, :func:`transfer` labels a query, :func:`inspect` reports on a file and :func:`read` reads one. What they
need is imported when they are called: ``import labeltransfer`` takes no time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeltransfer.api.inputs import inspect, read
    from labeltransfer.api.transfer import transfer

__version__ = "0.2.0"

__all__ = ["inspect", "read", "transfer"]

_MODULES = {"inspect": "inputs", "read": "inputs", "transfer": "transfer"}


def __getattr__(name: str) -> Any:
    """One of the functions above, at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
