"""Spoilt inputs: a small share of ``benchmarks.fuzz.spoil``, and whether it would notice a fault at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.fuzz.child import Ended, Report, Watch, in_children
from benchmarks.fuzz.tally import judge
from tests.support import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limits and its watch are Linux's")


def test_spoilt_files_are_refused_in_words_or_read_right() -> None:
    options = ["--inputs", "70", "--through", "6", "--probes", "1", "--top-genes", "2000", "--seed", "11"]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fuzz.spoil", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "70 spoilt files" in ended.stdout


def test_what_does_not_end_dies_or_breaks_is_distinguished_and_the_next_goes_on() -> None:
    def sleeps(report: Report) -> None:
        report("passed")
        time.sleep(60)

    def dies(report: Report) -> None:
        os.kill(os.getpid(), 9)

    def breaks(report: Report) -> None:
        raise KeyError("x")

    def grows(report: Report) -> None:
        bytearray(2**32)

    works = [sleeps, dies, breaks, grows, lambda report: report("read")]
    ended = in_children(works, seconds=0.5, memory=2**31)
    assert [one.stopped for one in ended] == ["SIGALRM", "SIGKILL", "", "", ""]
    assert [judge(one, "any")[0] for one in ended] == ["fault", "ended by the probe", "fault", "fault", "read"]
    assert "KeyError" in ended[2].lines[0] and "MemoryError" in ended[3].lines[0]


@pytest.mark.parametrize(
    ("ended", "expected", "outcome"),
    [
        (["refused no"], "read", "fault"),
        (["passed", "read", "agrees"], "refused", "fault"),
        (["passed", "read", "differs in counts"], "any", "fault"),
        (["passed", "read", "differs in counts"], "no matter", "read"),
        (["leaked", "refused no"], "no matter", "fault"),
        (["unclear no"], "any", "fault"),
        (["refused no"], "refused", "refused"),
    ],
)
def test_what_should_not_come_of_an_input_is_a_fault(ended: list[str], expected: str, outcome: str) -> None:
    assert judge(Ended(ended, "", 1.0, 1), expected)[0] == outcome


def test_a_file_that_is_opened_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    watch = Watch(tmp_path)
    os.listdir(tmp_path)  # looking into the folder opens no file
    assert not watch.touched()
    subprocess.run(["/bin/cat", str(tmp_path / "secret")], capture_output=True, check=True)
    assert watch.touched()
    assert not watch.touched()
