"""The package: what it asks for, and that its wheel carries the command line and the app."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import labeltransfer
from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([\w.-]+)==([^\s#]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
}


def test_each_range_admits_the_pinned_release() -> None:
    assert len(RANGES) > 20
    assert {name: str(r.specifier) for name, r in RANGES.items() if PINS.get(name) not in r.specifier} == {}


def test_what_the_code_imports_is_asked_for() -> None:
    """The first part of requirements.txt, up to what those packages need in turn, is the package's dependencies."""
    own = (ROOT / "requirements.txt").read_text().split("# What those need in turn")[0]
    assert {canonicalize_name(n) for n in re.findall(r"^([\w.-]+)==", own, re.MULTILINE)} == set(RANGES)


def test_the_citation_names_the_version() -> None:
    assert f"version: {labeltransfer.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed, without what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("labeltransfer-*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def test_the_wheel_carries_the_whole_app_and_the_demo_run(site: Path) -> None:
    app = site / "labeltransfer" / "_app"
    for folder, where in ((ROOT / "pages", app / "pages"), (ROOT / "labeltransfer", site / "labeltransfer")):
        source = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert [path.name for path in source if not (where / path.relative_to(folder)).exists()] == []
    assert (app / "app.py").exists()
    assert (app / ".streamlit" / "config.toml").exists()
    assert not list(app.rglob("secrets*"))


def test_the_installed_command_reads_a_file(site: Path, demo_pair: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(site), "LABELTRANSFER_HOME": str(tmp_path / "home")}
    command = [sys.executable, str(site / "bin" / "labeltransfer"), "inspect", str(demo_pair / "reference.h5ad")]
    shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "counts" in shown.stdout
    where = "import labeltransfer; print(labeltransfer.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(site)
