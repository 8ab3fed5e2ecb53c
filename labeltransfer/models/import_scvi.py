"""scvi-tools, imported without torch's compiler.

Lightning and torchvision, which scvi-tools imports, import the compiler for the sake of three names: a quarter of the
seconds that all of it takes, in every run. Nothing here compiles by it. So a substitute takes its place until the
import is over; a later import gets the compiler itself.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"


def import_scvi() -> None:
    """Import scvi-tools, without the compiler where that can be done."""
    try:
        with without_compiler():
            importlib.import_module("scvi")
    except (ImportError, AttributeError):  # another release asks for more of it
        importlib.import_module("scvi")


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let imports inside find only the compiler's three names, unless it is imported already."""
    if COMPILER in sys.modules:
        yield
        return
    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    compiler.__dict__.update(__path__=[], utils=utils, OptimizedModule=OptimizedModule, disable=_as_it_is)
    utils.__dict__.update(is_compile_supported=_never)
    substitutes = {module.__name__: module for module in (compiler, utils)}
    sys.modules.update(substitutes)
    try:
        yield
    finally:
        for name in substitutes:
            del sys.modules[name]


class OptimizedModule(torch.nn.Module):
    """The class of compiled modules, of which there are none."""


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Replaces what keeps a function from being compiled: called with it, or as a decorator with settings."""
    return function or (lambda decorated: decorated)


def _never(device_type: str) -> bool:
    """Whether the compiler can serve a kind of device."""
    return False


import_scvi()
