"""The walls of the house: what may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

CORE = sorted((ROOT / "labeltransfer").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_the_core_knows_no_screen() -> None:
    assert len(CORE) > 20
    assert [path.name for path in CORE if any(n.split(".")[0] == "streamlit" for n in imported(path))] == []


@pytest.mark.parametrize(
    ("floor", "forbidden"),
    [
        ("data", ("models", "results", "runs", "cli")),
        ("models", ("data", "results", "runs", "cli")),
        ("results", ("data", "models", "runs", "cli")),
        ("runs", ("cli",)),
    ],
)
def test_imports_point_one_way(floor: str, forbidden: tuple[str, ...]) -> None:
    for path in (ROOT / "labeltransfer" / floor).rglob("*.py"):
        crossed = {n for n in imported(path) if n.startswith(tuple(f"labeltransfer.{f}" for f in forbidden))}
        assert not crossed, f"{path.name} imports {crossed}"


def test_pages_are_not_imported_by_the_core() -> None:
    assert [path.name for path in CORE if any(n.split(".")[0] == "pages" for n in imported(path))] == []


@pytest.mark.parametrize(
    "module",
    [
        "labeltransfer.runs.worker.work",
        "labeltransfer.runs.start.executors",
        "labeltransfer.runs.records.store",
        "labeltransfer.cli.main",
    ],
)
def test_asking_for_a_run_and_waiting_for_a_device_stay_light(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'scvi', 'scanpy', 'streamlit', 'ray'}} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "[]"
