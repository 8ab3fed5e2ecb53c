"""scvi-tools without torch's compiler: quick to import, and the compiler is there when it is wanted."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labeltransfer.models import import_scvi

IMPORTS = """
import sys
import labeltransfer.models.integrate, labeltransfer.models.transfer
print("torch._dynamo" in sys.modules)
import torch
print(int(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(()))), hasattr(torch._dynamo, "optimize"))
"""


def test_a_workers_imports_leave_the_compiler_out_and_it_can_still_be_had() -> None:
    output = subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True, text=True).stdout
    assert output.split() == ["False", "2", "True"]


def test_a_release_that_asks_for_more_of_the_compiler_is_imported_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    @contextmanager
    def in_vain() -> Iterator[None]:
        tried.append(True)
        raise AttributeError("torch._dynamo has no such name")
        yield

    monkeypatch.setattr(import_scvi, "without_compiler", in_vain)
    import_scvi.import_scvi()
    assert tried and "scvi" in sys.modules


def test_the_substitutes_are_gone_after_the_import_and_even_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(import_scvi.COMPILER)]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError), import_scvi.without_compiler():
        assert import_scvi.COMPILER in sys.modules
        raise ImportError
    assert import_scvi.COMPILER not in sys.modules and f"{import_scvi.COMPILER}.utils" not in sys.modules
