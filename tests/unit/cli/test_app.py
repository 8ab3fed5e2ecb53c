"""The command ``app``: which script it serves, and how it is started."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from labeltransfer.cli import app
from labeltransfer.cli.main import main
from labeltransfer.errors import LabelTransferError
from tests.support import ROOT


def test_a_checkout_serves_its_own_app() -> None:
    assert app.app_script() == ROOT / "app.py"


def test_an_installed_package_serves_the_app_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "labeltransfer"
    (package / "_app" / "pages" / "shared").mkdir(parents=True)
    (package / "_app" / "app.py").touch()
    (package.parent / "app.py").touch()  # of some other package
    monkeypatch.setattr(app, "PACKAGE", package)
    assert app.app_script() == package / "_app" / "app.py"
    monkeypatch.setattr(app, "PACKAGE", tmp_path / "elsewhere")
    with pytest.raises(LabelTransferError, match="There is no app"):
        app.app_script()


def test_port_and_address_reach_streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    assert main(["app"]) == 0
    assert main(["app", "--port", "9000", "--address", "0.0.0.0"]) == 0  # noqa: S104
    plain, given = started
    assert plain == [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py")]
    assert given[len(plain) :] == ["--server.port", "9000", "--server.address", "0.0.0.0"]  # noqa: S104
    assert main(["app", "--port", "70000"]) == 2


def test_the_app_is_served_from_any_folder_with_its_own_settings(tmp_path: Path) -> None:
    from tests.support.browser import free_port

    port = free_port()
    env = os.environ | {"LABELTRANSFER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "labeltransfer", "app", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
        assert f"http://127.0.0.1:{port}" in (tmp_path / "log").read_text(), "address of .streamlit/config.toml"
    finally:
        process.terminate()
        process.wait(20)
