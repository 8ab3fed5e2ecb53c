"""Sign-in closes where something about it cannot be known, and a session ends with signing out."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.processes import module_environment
from labeltransfer.runs.records import sign_ins
from labeltransfer.storage.home import home
from pages.door.entrance import EXAMPLE
from tests.support import ROOT
from tests.support.pages import AUTH, app, labels, said

TOML = "[auth]\n" + "".join(f'{name} = "{value}"\n' for name, value in AUTH.items())
SIGNED_IN = {"is_logged_in": True, "email": "ada@lab.example.org", "email_verified": True, "sub": "1", "iat": 1}


@pytest.fixture
def secrets_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this server's secrets would be; pages read them afresh from there."""
    path = tmp_path / ".streamlit" / "secrets.toml"
    path.parent.mkdir()
    get_option = st.get_option
    files = lambda name: [str(path)] if name == "secrets.files" else get_option(name)  # noqa: E731
    monkeypatch.setattr("streamlit.config.get_option", files)
    monkeypatch.setattr("streamlit.get_option", files)
    yield path
    st.secrets._reset()


def opened() -> AppTest:
    """The app as a visitor sees it who has not signed in, with the secrets as they are on the disk by now."""
    st.secrets._reset()
    return app()


def is_closed(at: AppTest) -> bool:
    return not at.exception and not at.title and len(at.error) == 1


@pytest.mark.parametrize(
    "content",
    [
        b'[auth]\nredirect_uri = "http://localhost\n',
        b"[auth\n",
        b"\xff\xfe",
        b"auth = 1\n",
        b'[auth]\nclient_id = "x"\n',
        TOML.replace("of a test", EXAMPLE).encode(),
        re.sub("cookie_secret = .*", 'cookie_secret = "short"', TOML).encode(),
        f"{TOML}[acces]\nemails = []\n".encode(),
        f"{TOML}[access]\nemail = []\n".encode(),
        f"{TOML}[access]\nemails = 'ada@lab.example.org'\n".encode(),
        f"{TOML}[access]\nadmins = ['\u212aim@lab.example.org']\n".encode(),
        b"[access]\nadmins = []\n",
    ],
    ids=[
        *("a lost quote", "a lost bracket", "no UTF-8", "no section", "half a section", "the example's cookie secret"),
        *("a short cookie secret", "a misspelt section", "a misspelt key", "no list", "a letter that folds to another"),
        "access without auth",
    ],
)
def test_secrets_that_cannot_be_read_let_nobody_in(content: bytes, lt_home: Path, secrets_file: Path) -> None:
    secrets_file.write_bytes(content)
    at = opened()
    assert is_closed(at)
    assert "administrator" in at.error[0].value and str(secrets_file.parent) not in at.error[0].value


def test_a_folder_in_place_of_the_secrets_lets_nobody_in(lt_home: Path, secrets_file: Path) -> None:
    secrets_file.mkdir()
    assert is_closed(opened())


def test_a_server_without_secrets_is_open_unless_sign_in_was_on_once(lt_home: Path, secrets_file: Path) -> None:
    assert [title.value for title in opened().title] == ["Data"]
    secrets_file.write_text(TOML)
    assert [title.value for title in opened().title] == ["Sign in"]
    secrets_file.unlink()
    at = opened()
    assert is_closed(at) and "sign-in-was-on" in at.error[0].value
    (lt_home / sign_ins.WAS_ON).unlink()
    assert [title.value for title in opened().title] == ["Data"]


@pytest.mark.parametrize("value", ["true", "1", "yes", "on"])
def test_a_value_of_sign_in_that_means_nothing_opens_nothing(
    value: str, lt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELTRANSFER_SIGN_IN", value)
    at = app()
    assert is_closed(at) and "set it to required or off" in at.error[0].value


def signed_in(**claims: object) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.secrets["auth"] = AUTH
    at.user = {**SIGNED_IN, **claims}
    return at.run()


def test_a_copy_of_the_cookie_is_of_no_use_after_signing_out(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "logout", lambda: None)
    at = signed_in()
    next(button for button in at.sidebar.button if button.label == "Sign out").click()
    at.run()
    assert labels(signed_in()) == ["Sign in"]
    assert "Signed in as" in said(signed_in(iat=2)), "the next session is another one"
    assert "Signed in as" in said(signed_in(sub="2"))


def test_ended_sessions_that_cannot_be_read_let_nobody_in(lt_home: Path) -> None:
    signed_in()
    (lt_home / "ended-sessions.json").write_text("[")
    assert is_closed(signed_in())


def test_a_fragment_of_an_open_tab_asks_again(lt_home: Path) -> None:
    """Streamlit runs a fragment without the page that holds it."""
    script = """
import streamlit as st
from pages.door.sign_in import fragment

@fragment(run_every=None)
def part() -> None:
    st.write("for the lab alone")

part()
"""
    for claims, shown in ((SIGNED_IN, True), ({**SIGNED_IN, "is_logged_in": False}, False)):
        at = AppTest.from_string(script)
        at.secrets["auth"] = AUTH
        at.user = claims
        assert ("for the lab alone" in said(at.run())) is shown


def test_a_home_from_before_is_closed_to_others_and_other_folders_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = tmp_path / "old", tmp_path / "other"
    (old / "runs").mkdir(parents=True)
    other.mkdir()
    for folder in (old, other):
        folder.chmod(0o755)
        monkeypatch.setenv("LABELTRANSFER_HOME", str(folder))
        home()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (old, other)] == [0o700, 0o755]
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "new"))
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    monkeypatch.setenv("LABELTRANSFER_HOME_ACCESS", "group")
    monkeypatch.setenv("LABELTRANSFER_HOME", str(tmp_path / "group"))
    assert stat.S_IMODE(home().stat().st_mode) == 0o2770


def test_what_the_processes_of_the_app_write_is_their_users_alone_and_results_are_as_usual(tmp_path: Path) -> None:
    script = """
import os
from pathlib import Path
from labeltransfer.storage.home import keep_files_private, users_umask
os.umask(0o022)
keep_files_private()
Path("kept").touch(), Path("folder").mkdir()
with users_umask():
    Path("result").touch()
print(*(f"{Path(name).stat().st_mode & 0o777:o}" for name in ("kept", "folder", "result")))
"""
    for access, modes in (("owner", "600 700 644"), ("group", "660 770 644")):
        folder = tmp_path / access
        folder.mkdir()
        environment = module_environment() | {"LABELTRANSFER_HOME_ACCESS": access}
        command = [sys.executable, "-c", script]
        found = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        assert found.stdout.split() == modes.split()
