"""What must hold for every page and every writer, the ones still to be written included."""

import ast
import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from streamlit.testing.v1 import AppTest

from labeltransfer.runs.records.store import find_run
from labeltransfer.storage.uploads import safe_name
from pages.shared import draft
from tests.support import ROOT

PAGES = sorted((ROOT / "pages").glob("[!_]*.py"))
SCREEN = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]
SOURCES = [*SCREEN, *(ROOT / "labeltransfer").rglob("*.py")]


def calls(path: Path) -> list[str]:
    """What a file calls, by the last part of its name."""
    nodes = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in nodes]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_asks_who_is_there_before_it_does_anything(page: Path) -> None:
    passive = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    body = ast.parse(page.read_text()).body[1:]  # after the docstring
    first = next(node for node in body if not isinstance(node, passive))
    assert ast.unparse(first) == "guard()"


def test_no_page_writes_markup_of_its_own() -> None:
    for path in SCREEN:
        assert not {"html", "iframe", "declare_component", "write_stream"} & set(calls(path)), path.name
        assert "unsafe_allow" not in path.read_text(), path.name


def test_every_csv_goes_through_the_one_place_that_escapes_formulas() -> None:
    plain = {path.name for path in SOURCES if re.search(r"\.to_csv\(|csv\.(writer|DictWriter)", path.read_text())}
    assert plain == {"safe_csv.py", "script_body.py"}  # the script has its own, and a test of it
    # A table's own toolbar would write one too, as the cells are.
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["client"]["disableDataExport"] is True


@pytest.mark.parametrize(
    "name",
    [
        *("../../x.h5ad", "..", ".", "", "/etc/passwd", "..\\..\\x.h5ad", "a/../../b.h5ad", ".ssh", "\0x", "x" * 5_000),
        *("<img src=x onerror=alert(1)>.h5ad", "$(id).h5ad", "-rf", "CON", "\u202egpj.h5ad", "a\nb.h5ad", "=1+1.h5ad"),
    ],
)
def test_an_upload_gets_a_plain_name(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", safe_name(name))


@pytest.mark.parametrize("run", ["a" * 300, "../../etc"])
def test_an_address_with_any_run_shows_a_page(run: str, lt_home: Path) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = run
    at.query_params["draft"] = "f" * 10_000
    at.run()
    assert not at.exception
    assert [title.value for title in at.title] == ["Data"]


def test_a_draft_file_that_another_program_made_is_left_alone(lt_home: Path) -> None:
    (lt_home / "drafts").mkdir(parents=True)
    deep = '{"settings": ' + '{"reference": ' * 100_000
    for i, content in enumerate(
        [deep, "[" * 100_000, "null", json.dumps({"settings": {"reference": []}, "notes": {}})]
    ):
        (lt_home / "drafts" / f"{i:016x}.json").write_text(content)
        assert draft._load(f"{i:016x}") is None


def test_a_run_cannot_be_reached_through_a_link_in_its_name(lt_home: Path, tmp_path: Path) -> None:
    for run_id in ("../secret", "..", "./demo", "demo\0", "DEMO", "ｄｅｍｏ"):
        with pytest.raises(Exception, match="no such run"):
            find_run(run_id)


# What the app is built of


def pinned() -> dict[str, str]:
    """Version by package, as requirements.txt asks for them."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([0-9][0-9A-Za-z.+]*)", line) for line in lines if line]
    assert all(found), "requirements.txt holds exact versions only"
    return {canonical(match[1]): match[2] for match in found if match}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_is_pinned_with_all_that_it_needs() -> None:
    """PyTorch alone pins its own parts, which differ between machines."""
    pins = pinned()
    for name in pins:
        if name in ("torch", "torchvision"):
            continue
        for text in requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonical(needed.name) in pins, f"{name} needs {needed.name}"


def test_what_is_installed_is_what_is_pinned() -> None:
    for name, wanted in pinned().items():
        try:
            found = version(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed")
        assert found.partition("+")[0] == wanted, name
