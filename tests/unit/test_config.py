"""Environment variables: what they give, and what is said of values that cannot be used."""

import ast
from pathlib import Path

import pytest

from labeltransfer.cli.main import main
from labeltransfer.config import VARIABLES, Config, check_variables, config, reread, variable, variables
from labeltransfer.errors import SettingsError
from tests.support import ROOT


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_defaults_hold_where_nothing_is_set_or_the_value_is_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: field.default for name, field in Config.model_fields.items()}
    assert {name: getattr(config(), name) for name in expected} == expected
    for name in set(VARIABLES) - {"CUDA_VISIBLE_DEVICES"}:
        monkeypatch.setenv(name, " ")
    assert {name: getattr(config(), name) for name in expected} == expected


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("home", "/runs", Path("/runs")),
        ("mirror", "http://mirror/", "http://mirror"),
        ("runs_visible", " OWN ", "own"),
        ("sign_in", "Required", "required"),
        ("sign_in", " required ", "required"),
        ("hosts", "a.example.org, *.b.org", "a.example.org, *.b.org"),
        ("home_access", "Group", "group"),
        ("runs_per_person", "12", 12),
        ("disk_in_all", "1.5 TB", 1_500_000_000_000),
        ("ray_gpus", "0.5", 0.5),
        ("cuda_visible_devices", "", ""),
        ("placed", "gpu", "gpu"),
    ],
)
def test_a_value_is_read_in_its_type(monkeypatch: pytest.MonkeyPatch, field: str, text: str, value: object) -> None:
    monkeypatch.setenv(variable(field), text)
    assert getattr(config(), field) == value


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("runs_visible", "mine", "set it to all or own"),
        ("executor", "slurm", "neither local nor ray"),
        *(("sign_in", text, "set it to required or off") for text in ("true", "1", "yes", "on", "requird")),
        ("hosts", "https://a.example.org", "names of hosts without https"),
        ("hosts", "a.example.org:8501", "names of hosts without https"),
        ("mirror", "ftp://mirror", "begins with https:// or http://"),
        ("placed", "tpu", "gpu or cpu"),
        ("runs_per_person", "0", "a number of runs from 1 up"),
        ("runs_per_person", "1_000", "a number of runs from 1 up"),
        ("disk_per_person", "lots", "500MB, 50GB or 2TB"),
        ("ray_cpus", "inf", "a number from 0 up, such as 2"),
        ("cpu_slots", "9" * 5000, "a whole number from 1 to its"),
    ],
)
def test_a_value_that_cannot_be_used_is_reported_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, field: str, text: str, words: str
) -> None:
    monkeypatch.setenv(variable(field), text)
    assert config().home  # the rest works
    with pytest.raises(SettingsError, match=words) as caught:
        getattr(config(), field)
    assert str(caught.value).startswith(f"{variable(field)} is '{text[:50]}") and len(str(caught.value)) < 300


def test_the_start_refuses_every_value_that_cannot_be_used_and_every_misspelt_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_variables()
    monkeypatch.setenv("LABELTRANSFER_SIGN_IN", "true")
    monkeypatch.setenv("LABELTRANSFER_RAY_CPUS", "many")
    monkeypatch.setenv("LABELTRANSFER_SIGNIN", "required")
    monkeypatch.setenv("LABELTRANSFER_PORT_80_TCP", "tcp://10.0.0.1:80")  # of a service by Kubernetes
    with pytest.raises(SettingsError) as caught:
        check_variables()
    for words in (
        "SIGN_IN is 'true'",
        "RAY_CPUS is 'many'",
        "SIGNIN is no variable of this app (LABELTRANSFER_SIGN_IN is",
    ):
        assert words in str(caught.value)
    assert "TCP" not in str(caught.value)
    assert main(["clean", "--dry-run"]) == 2
    assert main(["health"]) != 2, "what says what is wrong has to work"


def test_variables_are_checked_once_until_one_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = config()
    assert config() is first
    monkeypatch.setenv("LABELTRANSFER_MIRROR", "http://mirror")
    assert config() is not first and config().mirror == "http://mirror"
    second = config()
    reread()
    assert config() is not second


def test_a_token_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert "secret" not in repr(config())


def test_each_variable_has_a_line_for_the_manual() -> None:
    listed = {entry.name: entry for entry in variables()}
    assert set(listed) == set(VARIABLES) - {variable("placed")}
    assert all(entry.description and entry.default for entry in listed.values())
    assert listed["LABELTRANSFER_RAY_GPUS"].default == "1" and listed["LABELTRANSFER_MIRROR"].default == "none"


def test_no_other_module_reads_the_environment() -> None:
    """But for those that set variables for the processes they start."""
    readers = set()
    for folder in ("labeltransfer", "pages"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                    readers.add(path.relative_to(ROOT).as_posix())
    assert readers == {
        "labeltransfer/config.py",
        "labeltransfer/processes.py",
        "labeltransfer/runs/health/setup.py",  # numba's own variable
        "labeltransfer/runs/start/executors.py",
        "labeltransfer/runs/worker/work.py",
    }
