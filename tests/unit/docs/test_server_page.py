"""What the manual's page on servers gives to copy: the unit, Caddy's file, backup and restore."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labeltransfer.cli import doctor
from labeltransfer.cli.main import main
from labeltransfer.params import run_params
from labeltransfer.runs.health import setup
from labeltransfer.runs.records.run import Status
from labeltransfer.runs.records.store import SHIPPED, Store
from tests.support import ROOT
from tests.support.manual import block, replaced

PARAMS = run_params({side: {"path": f"{side}.h5ad"} for side in ("reference", "query")})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed on this machine")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    python = {"/opt/labeltransfer/.venv/bin/python": sys.executable}
    unit = replaced(block("ini"), python | {"User=labeltransfer": "User=root", "/opt/labeltransfer": str(ROOT)})
    (tmp_path / "labeltransfer.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "labeltransfer.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    own = [line for line in done.stderr.splitlines() if "labeltransfer" in line]
    assert own == [] and "Failed" not in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("caddy") is None, reason="Caddy is not installed on this machine")
def test_caddy_accepts_its_file(tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(block("caddyfile"))
    command = ["caddy", "adapt", "--validate", "--config", str(tmp_path / "Caddyfile")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("tar") is None or os.name != "posix", reason="there is no tar")
def test_a_home_is_copied_while_a_run_is_written_and_opens_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, restore = [text for text in _shell_blocks() if "tar --" in text]
    home, elsewhere, archive = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "backup.tar"
    shutil.copytree(SHIPPED, home)
    store = Store(home)
    finished, running = store.runs()[0], store.create(PARAMS, "ada@lab.example.org")
    over = threading.Event()

    def write() -> None:
        """As a worker does: status, events and log again and again, stages begun and put in place."""
        n = 0
        while not over.is_set():
            n += 1
            running.write_status(Status(state="running", created=1.0, epoch=n))
            running.append_event("epoch", stage="integrate", epoch=n)
            store.claim_stage(running, "integrate", str(n))
            with store.build_stage(running, "integrate", str(n)) as folder:
                (folder / "model").write_text("x" * 1000)

    writer = threading.Thread(target=write)
    with running.worker_lock():
        writer.start()
        try:
            for _ in range(5):
                archive.unlink(missing_ok=True)
                _shell(backup, LABELTRANSFER_HOME=home, BACKUP=archive)
        finally:
            over.set()
            writer.join()
    _shell(restore.replace("labeltransfer doctor --thorough", "true"), LABELTRANSFER_HOME=elsewhere, BACKUP=archive)
    copied = Store(elsewhere)
    run = copied.run(finished.id)
    assert run.status().state == "done" and run.whole_artefacts.cells.read_bytes()
    again = copied.run(running.id)
    assert (
        again.owner == "ada@lab.example.org" and again.written_status().epoch > 0 and again.status().state == "failed"
    )
    before = int(again.stage_keys()["integrate"]) - 1  # the last one may not have been whole yet
    assert (copied.stage_folder("integrate", str(before)) / "model").read_text() == "x" * 1000
    assert not [path for path in (elsewhere / "stages").iterdir() if path.name.startswith(".")]

    monkeypatch.setenv("LABELTRANSFER_HOME", str(elsewhere))
    monkeypatch.setattr(setup, "_is_compiled", lambda source: True)
    monkeypatch.setattr(doctor, "secrets_files", lambda: [])
    assert main(["doctor", "--thorough"]) == 0


def _shell_blocks() -> list[str]:
    text = (ROOT / "docs" / "server.md").read_text()
    return [part.split("```", 1)[0] for part in text.split("```sh\n")[1:]]


def _shell(script: str, **variables: Path) -> None:
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
