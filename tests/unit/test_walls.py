"""The walls of the house: which room may import which, in one table; no circle; no room too full to look over."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

BASE = frozenset({"errors", "units", "params", "presets", "config", "processes", "strata", "training_labels"})
"""What every room may take: errors, settings, words and small functions that know of nothing else."""

MAY_IMPORT: dict[str, set[str]] = {
    # Files and their forms.
    "storage": set(),
    "formats": {"formats.contract", "formats.h5ad", "storage"},
    "formats.contract": set(),  # every reader keeps to it
    "formats.h5ad": {"formats.contract", "storage"},
    "neighbours": set(),
    # From files to one AnnData.
    "data.genes": {"storage"},  # the tutorial's gene lengths are downloaded
    "data.intake": {"data.genes", "formats"},
    "data.prepare": {"data.genes", "data.intake", "formats", "storage"},
    "data.catalogue": {"data.intake", "formats", "formats.h5ad", "storage"},
    "data.demo": {"storage"},
    # Models and classifiers.
    "models": {"models.fast", "models.progress"},
    "models.fast": {"models.progress"},
    "models.progress": set(),  # both loops report through it
    "classifiers": {"neighbours", "storage"},
    # From predictions to answers: pure.
    "results.scores": {"classifiers", "storage"},  # names of the panel
    "results.ontology": {"results.scores"},
    "results.levels": {"results.ontology"},
    "results.maps": {"neighbours"},
    "results.trust": {"classifiers", "neighbours", "results.maps", "results.scores"},
    "results.tile": {"results.scores"},
    "results.figures": {"results.scores", "results.tile"},
    "results.audit": {"neighbours", "results.export", "results.scores", "results.trust", "storage"},
    "results.export": {"results.scores", "results.trust", "storage"},
    "results.report": {"results.figures", "results.levels", "results.maps", "results.scores", "results.trust"},
    # Runs: kept, queued, carried out, taken home.
    "runs.records": {"results", "storage"},
    "runs.space": {"runs.queue", "runs.records", "storage"},
    "runs.health": {"runs.library", "runs.queue", "runs.records", "runs.space", "storage"},
    "runs.library": {"data", "results", "runs.records", "storage"},
    "runs.queue": {"runs.records", "storage"},
    "runs.worker": {
        *("classifiers", "data", "models", "neighbours", "results", "storage"),
        *("runs.library", "runs.queue", "runs.records"),
    },
    "runs.start": {"runs.queue", "runs.records", "runs.space", "runs.worker", "storage"},
    "runs.output": {"data", "results", "runs.records", "runs.worker", "storage"},
    "cli": {"data", "formats", "runs", "storage"},
    "api": {"cli", "data", "formats", "results", "runs", "storage"},  # its settings are the command line's options
    # The screen.
    "pages.door": {"labeltransfer"},
    "pages.shared": {"labeltransfer", "pages.door"},
    "pages.uploads": {"labeltransfer", "pages.door", "pages.shared"},
    "pages.*_parts": {"labeltransfer", "pages.door", "pages.shared", "pages.uploads"},
    "pages": {"labeltransfer", "pages.*_parts", "pages.door", "pages.shared", "pages.uploads"},
    "app": {"labeltransfer", "pages.door", "pages.shared", "pages.uploads"},
}
"""Rooms, and the rooms that each may import; a name allows the rooms inside it too. ``labeltransfer.`` is left out."""

MOST_MODULES = 15
"""Modules that one room may have, the package's own file not counted."""


def sources() -> dict[str, Path]:
    """Modules of the product by their dotted name."""
    files = [ROOT / "app.py", *(ROOT / "labeltransfer").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def is_typing_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and is_typing_only(node)):
            yield node
            yield from nodes(node)


def imported(path: Path, own: str, known: dict[str, Path]) -> set[str]:
    """Modules of the product that a file imports, anywhere in it, and top names of others."""
    found: set[str] = set()
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name if alias.name in known else alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] not in {"labeltransfer", "pages"}:
                found.add(node.module.split(".")[0])
                continue
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            found |= inner or {node.module}
    return found - {own}


KNOWN = sources()
GRAPH = {name: imported(path, name, KNOWN) for name, path in sorted(KNOWN.items())}


def room_of(module: str) -> str:
    """The room that a module lies in: its package, or itself where it lies at the top of the core."""
    if module.removeprefix("labeltransfer.") in MAY_IMPORT:
        return module.removeprefix("labeltransfer.")
    path = KNOWN[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    if package == "labeltransfer":
        return module.removeprefix("labeltransfer.")
    package = package.removeprefix("labeltransfer.").removesuffix(".makers")  # the worker's, a file a stage
    return "pages.*_parts" if package.endswith("_parts") else package or module


def allowed(room: str, other: str) -> bool:
    granted = MAY_IMPORT.get(room, set())
    core = not other.startswith(("pages", "app"))
    return (
        room == other
        or (other in BASE and core)
        or any(other == g or other.startswith(f"{g}.") for g in granted)
        or ("labeltransfer" in granted and core)
    )


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Circles of a graph, each once, as the names along it."""
    found: list[list[str]] = []
    over: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in over:
            for other in sorted(graph.get(name, ())):
                visit(other, [*way, name])
            over.add(name)

    for name in graph:
        visit(name, [])
    return found


def test_imports_follow_the_table() -> None:
    crossed = [
        f"{module} -> {other}"
        for module, others in GRAPH.items()
        for other in others & set(KNOWN)
        if room_of(module) not in BASE | {"labeltransfer", "__main__"} and not allowed(room_of(module), room_of(other))
    ]
    assert crossed == []


def test_what_every_room_may_take_knows_of_no_room() -> None:
    crossed = [
        f"{module} -> {other}"
        for module, others in GRAPH.items()
        for other in others & set(KNOWN)
        if room_of(module) in BASE and room_of(other) not in BASE
    ]
    assert crossed == []


def test_no_module_imports_itself_by_a_detour() -> None:
    assert circles({name: others & set(KNOWN) for name, others in GRAPH.items()}) == []


def test_no_two_rooms_import_each_other() -> None:
    rooms: dict[str, set[str]] = {}
    for module, others in GRAPH.items():
        for other in others & set(KNOWN):
            if room_of(other) != room_of(module):
                rooms.setdefault(room_of(module), set()).add(room_of(other))
    assert circles(rooms) == []


def test_a_room_can_be_looked_over(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the rooms, their modules and what they import, which is the import graph of the house."""
    rooms: dict[str, list[str]] = {}
    for module, path in KNOWN.items():
        if path.name != "__init__.py":
            rooms.setdefault(module.rpartition(".")[0].removeprefix("labeltransfer."), []).append(module)
    arrows = {
        room: sorted({room_of(o) for m in modules for o in GRAPH[m] & set(KNOWN)} - BASE - {room})
        for room, modules in sorted(rooms.items())
    }
    with capsys.disabled():
        print()
        for room, others in arrows.items():
            print(f"{len(rooms[room]):3d} modules  {room or 'app'} -> {', '.join(others) or 'nothing'}")
    full = {room: len(modules) for room, modules in rooms.items() if len(modules) > MOST_MODULES}
    assert full == {}


def test_every_room_says_what_it_is_for() -> None:
    silent = [
        name for name, p in KNOWN.items() if p.name == "__init__.py" and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []


def test_the_core_knows_no_screen() -> None:
    core = {name: others for name, others in GRAPH.items() if name.startswith("labeltransfer")}
    assert len(core) > 100
    assert [name for name, others in core.items() if {o.split(".")[0] for o in others} & {"streamlit", "pages"}] == []


@pytest.mark.parametrize(
    "module",
    [
        "labeltransfer",
        "labeltransfer.runs.worker.work",
        "labeltransfer.runs.start.executors",
        "labeltransfer.runs.records.store",
        "labeltransfer.cli.main",
    ],
)
def test_asking_for_a_run_and_waiting_for_a_device_stay_light(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'scvi', 'scanpy', 'streamlit', 'ray'}} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"
