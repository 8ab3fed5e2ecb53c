"""The doctor: every damage is a line with a way out, a fix does what it says, and no run is deleted."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labeltransfer.cli import doctor as command
from labeltransfer.cli.main import main
from labeltransfer.params import run_params
from labeltransfer.runs.health import contents, home_folder, queue, setup
from labeltransfer.runs.health.doctor import examine
from labeltransfer.runs.health.finding import Finding, at_most, fixed, guarded
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import SHIPPED, Store

PARAMS = run_params({side: {"path": f"{side}.h5ad"} for side in ("reference", "query")})
OLD = time.time() - 3 * 86_400
AUTH = """
[auth]
redirect_uri = "https://labels.example.org/oauth2callback"
cookie_secret = "a long random text"
client_id = "x"
client_secret = "y"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
[access]
admins = ["ada@example.org"]
"""


@pytest.fixture(autouse=True)
def healthy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops as good as compiled, no secrets of this machine, no sign-in."""
    monkeypatch.setattr(setup, "_is_compiled", lambda source: True)
    monkeypatch.setattr(command, "secrets_files", lambda: [])
    monkeypatch.delenv("LABELTRANSFER_SIGN_IN", raising=False)


@pytest.fixture
def home(lt_home: Path) -> Path:
    """A home with one finished run."""
    shutil.copytree(SHIPPED, lt_home)
    lt_home.chmod(0o700)
    return lt_home


def to_do(*, fix: bool = False, thorough: bool = False) -> dict[str, str]:
    """Lines that say what to do, what they are about by their subject."""
    lines = [fixed(line) if fix else line for line in examine([], thorough=thorough)]
    return {line.what: line.about for line in lines if line.state == "to do"}


def aged(path: Path) -> Path:
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        os.utime(each, (OLD, OLD))
    return path


def test_a_good_home_is_well(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--thorough"]) == 0
    said = capsys.readouterr().out
    assert "All is well." in said and "1 run are whole" in said.replace("\n       ", " ")


def test_a_home_that_is_not_there_yet_is_not_made(lt_home: Path) -> None:
    assert to_do() == {} and not lt_home.exists()


def test_a_home_that_is_a_file_is_a_line(lt_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lt_home.touch()
    assert main(["doctor"]) == 1
    assert "is no folder" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["null", "[]", "{", "\x00", "3", '{"state": "sleeping", "created": "x"}', "\ud83d"])
@pytest.mark.parametrize("name", ["params.json", "status.json", "stages.json"])
def test_a_damaged_file_of_a_run_is_named_and_the_run_stays(home: Path, name: str, content: str) -> None:
    run = home / "runs" / "demo"
    (run / name).write_bytes(content.encode("utf-16" if content == "\ud83d" else "utf-8", "surrogatepass"))
    found = to_do()
    assert "demo" in found["Run"] and (name in found["Run"] or "are gone" in found["Run"])
    to_do(fix=True)
    assert run.is_dir() and (run / name).exists()


def test_a_finished_run_without_its_results_is_named(home: Path) -> None:
    shutil.rmtree(next((home / "stages").glob("transfer-*")))
    assert "transfer-" in to_do()["Run"] and "gone" in to_do()["Run"]


def test_a_cut_result_is_named_and_a_changed_one_when_asked_for(home: Path) -> None:
    cells = next((home / "stages").glob("evaluate-*")) / "cells.parquet"
    content = cells.read_bytes()
    cells.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert to_do() == {}
    assert "cells.parquet" in to_do(thorough=True)["Result"]
    cells.write_bytes(content[:-1])
    assert "cells.parquet" in to_do()["Result"]


def test_a_damaged_reference_is_named(home: Path) -> None:
    (home / "references" / "marrow").mkdir(parents=True)
    (home / "references" / "marrow" / "card.json").write_text("[1]")
    assert "marrow" in to_do()["Reference"]


def test_old_leftovers_are_removed_and_young_ones_stay(home: Path) -> None:
    (home / "uploads" / ".arriving").mkdir(parents=True)
    for name in ("old", "young"):
        (home / "uploads" / ".arriving" / name).write_text("half a file")
        (home / f".draft.json.{'0' * 7}{len(name) % 10}").write_text("half a file")
    (home / "runs" / "begun").mkdir()
    (home / "stages" / ".transfer-1~gone").mkdir()
    aged(home / "uploads" / ".arriving" / "old")
    aged(home / ".draft.json.00000003")
    aged(home / "runs" / "begun")
    aged(home / "stages" / ".transfer-1~gone")
    lines = [line for line in examine([]) if line.what == "Leftovers"]
    assert len(lines) == 4 and all(line.state == "to do" for line in lines)
    assert to_do(fix=True) == {}
    assert [path.name for path in (home / "uploads" / ".arriving").iterdir()] == ["young"]
    assert not (home / ".draft.json.00000003").exists() and (home / ".draft.json.00000005").exists()
    assert [path.name for path in (home / "runs").iterdir()] == ["demo"]
    assert not (home / "stages" / ".transfer-1~gone").exists()
    assert to_do() == {}


def test_what_was_touched_after_the_look_stays(home: Path) -> None:
    (home / "uploads" / ".arriving").mkdir(parents=True)
    part = aged_file = home / "uploads" / ".arriving" / "part"
    part.write_text("half a file")
    aged(aged_file)
    (line,) = [line for line in examine([]) if line.what == "Leftovers"]
    os.utime(part)
    fixed(line)
    assert part.exists()


def test_a_run_that_lost_its_settings_is_damaged_and_no_leftover(home: Path) -> None:
    (home / "runs" / "demo" / "params.json").unlink()
    aged(home / "runs" / "demo")
    assert "Leftovers" not in to_do()
    to_do(fix=True)
    assert (home / "runs" / "demo").is_dir()


def test_a_home_that_others_may_read_is_closed(home: Path) -> None:
    home.chmod(0o755)
    assert "mode 0755" in to_do()["Home"]
    assert to_do(fix=True) == {}
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_of_a_group_stays_one(home: Path) -> None:
    home.chmod(0o2770)
    assert to_do() == {}
    home.chmod(0o2775)
    assert to_do(fix=True) == {}
    assert home.stat().st_mode & 0o7777 == 0o2770


def test_a_sign_of_life_from_the_future_is_named(home: Path) -> None:
    run = Store(home).create(PARAMS)
    run.write_status(Status(state="done", created=time.time(), heartbeat=time.time() + 500))
    assert run.id in to_do()["Clock"]


def test_a_held_device_without_a_worker_is_named(home: Path) -> None:
    with Store(home).lock("device-cpu"):
        assert "device-cpu" in to_do()["Locks"]
        with Run(home / "runs" / "demo").worker_lock():
            assert "Locks" not in to_do()
    assert "Locks" not in to_do()


def waiting(home: Path, **status: Any) -> Run:
    """A run in the queue, which no dispatcher serves."""
    run = Store(home).create(PARAMS)
    run.write_status(replace(run.written_status(), **status))
    run.place_in_queue.parent.mkdir(exist_ok=True)
    run.place_in_queue.touch()
    return run


def test_places_in_the_queue_of_runs_that_are_gone_or_over_are_removed(home: Path) -> None:
    over, gone, waits = waiting(home, state="failed"), waiting(home), waiting(home)
    shutil.rmtree(gone.folder)
    lines = [line.about for line in examine([]) if line.what == "Queue"]
    assert [run.id in about for run, about in zip((gone, over, waits), lines, strict=True)] == [True] * 3
    with Store(home).lock("dispatcher"):
        assert to_do(fix=True) == {}
        assert [path.name for path in (home / "queue").iterdir()] == [waits.id]
        assert to_do() == {}


def test_what_has_begun_with_a_run_after_the_look_keeps_its_place(home: Path) -> None:
    run = waiting(home, state="failed")
    (line,) = [line for line in examine([]) if line.what == "Queue"]
    run.write_status(Status(created=time.time()))
    assert "stayed" in fixed(line).about and run.in_queue


def test_runs_that_wait_where_nothing_serves_them_are_named(home: Path) -> None:
    run = waiting(home)
    assert run.id in to_do()["Queue"] and "no dispatcher" in to_do()["Queue"]
    with Store(home).lock("dispatcher"):
        assert to_do() == {}


def test_what_no_run_has_put_into_the_queue_is_named_and_stays(home: Path) -> None:
    (home / "queue" / "old" / "files").mkdir(parents=True)
    (home / "queue" / "link").symlink_to("nowhere")
    assert "2 things (link, old)" in to_do(fix=True)["Queue"]
    assert len(list((home / "queue").iterdir())) == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may change every folder")
def test_a_queue_that_may_not_be_changed_is_named(home: Path) -> None:
    (home / "queue").mkdir(mode=0o500)
    assert "no folder that this user may change" in to_do()["Queue"]


def test_an_unusable_setting_is_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_CPU_SLOTS", "many")
    assert "LABELTRANSFER_CPU_SLOTS is 'many'" in to_do()["Settings"]


def sign_in(tmp_path: Path, content: str) -> list[Finding]:
    path = tmp_path / "secrets.toml"
    path.write_text(content)
    path.chmod(0o600)
    return list(setup.sign_in([tmp_path / "none.toml", path]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text, ""),
        (lambda text: text.replace("]", "", 1), "cannot be read"),
        (lambda text: text.replace("cookie_secret", "cookie"), "lacks cookie_secret"),
        (lambda text: text.replace("client_id", "id"), "lacks client_id"),
        (lambda text: text.replace("/oauth2callback", ""), "no sign-in comes back"),
        (lambda text: text.replace("admins", "admin"), "holds admin"),
        (lambda text: "auth = 3", "has no section [auth]"),
        (lambda text: "", "has no section [auth]"),
    ],
)
def test_sign_in_that_cannot_work_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], words: str
) -> None:
    monkeypatch.setenv("LABELTRANSFER_SIGN_IN", "required")
    found = [line.about for line in sign_in(tmp_path, change(AUTH)) if line.state == "to do"]
    assert any(words in about for about in found) if words else found == []


def test_secrets_that_others_may_read_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(AUTH)
    path.chmod(0o644)
    line = next(line for line in setup.sign_in([path]) if line.what == "Secrets")
    assert fixed(line).state == "fixed" and path.stat().st_mode & 0o777 == 0o600


def test_loops_that_are_not_compiled_are_compiled_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_is_compiled", lambda source: False)
    monkeypatch.setattr(setup, "_compile", lambda: "Compiled.")
    (line,) = setup.compiled_loops()
    assert line.state == "to do" and fixed(line).about == "Compiled."


def test_a_package_out_of_its_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from packaging.requirements import Requirement

    asked = [Requirement("numpy<1"), Requirement("no-such-thing>1"), Requirement("pandas")]
    monkeypatch.setattr(setup, "_asked_for", lambda: (None, asked))
    (line,) = [line for line in setup.packages() if line.what == "Packages"]
    assert "2 packages of 3" in line.about and "no-such-thing is missing" in line.about and "numpy" in line.about


def test_a_check_that_fails_is_a_line() -> None:
    def broken() -> list[Finding]:
        raise RecursionError("too deep")

    (line,) = guarded("Runs", broken)
    assert line.state == "to do" and "too deep" in line.about


def test_a_fix_that_fails_is_said() -> None:
    def full() -> str:
        raise OSError("no room")

    line = fixed(Finding("Home", "to do", "It is open.", "chmod", full))
    assert line.state == "to do" and "no room" in line.about


def test_a_thousand_damaged_runs_are_some_lines() -> None:
    lines = list(at_most(Finding("Run", "to do", str(n)) for n in range(1000)))
    assert len(lines) == 21 and lines[-1].about.startswith("980 more")


def test_a_home_of_nonsense_is_lines_and_no_traceback(lt_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("runs", "stages", "references", "uploads", "locks", "drafts", "queue"):
        lt_home.mkdir(exist_ok=True)
        (lt_home / name).write_text(json.dumps(None))
    assert main(["doctor", "--fix", "--thorough"]) in (0, 1)
    for name in ("runs", "stages", "references", "uploads", "locks", "drafts", "queue"):
        (lt_home / name).unlink()
        (lt_home / name / name).mkdir(parents=True)
        (lt_home / name / "file").write_bytes(b"\xff\xfe")
        os.symlink("nowhere", lt_home / name / "link")
        os.makedirs(os.fsencode(lt_home / name) + b"/\xff\xfe", exist_ok=True)
    assert main(["doctor", "--fix", "--thorough"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_checks_of_one_room_look_at_folders_that_are_not_there(tmp_path: Path) -> None:
    for check in (
        home_folder.disk,
        home_folder.clock,
        home_folder.locks,
        contents.runs,
        contents.leftovers,
        queue.queue,
    ):
        assert [line for line in check(tmp_path) if line.state == "to do"] == []
