"""The manual and the README: tables from the code, links that lead somewhere, commands that work."""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs import tables
from labeltransfer.api.transfer import checked
from labeltransfer.cli.main import main, parser
from tests.support import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
FENCE = re.compile(
    r"^(?P<before>[^\n]*)\n```(?P<language>sh|python|bash|shell|console)\n(?P<text>.*?)^```$", re.M | re.S
)
MARK = re.compile(r"<!-- (?:(?P<here>tested here)|tested by (?P<file>\S+)::(?P<test>\w+)|only described: \S.*) -->")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
MOST_LINES = 150


@dataclass(frozen=True)
class Block:
    """A fenced block of code, with the comment in the line above it."""

    page: str
    mark: str
    language: str
    text: str

    def commands(self) -> list[list[str]]:
        """Arguments of each labeltransfer command in it."""
        lines = [shlex.split(line, comments=True) for line in self.text.replace("\\\n", " ").splitlines()]
        found = []
        for words in lines:
            if words[:1] == ["labeltransfer"]:
                found.append(words[1:])
            elif words[1:3] == ["-m", "labeltransfer"]:
                found.append(words[3:])
        return found


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    return [Block(name, *parts) for parts in FENCE.findall(text_of(name))]


BLOCKS = [block for name in NAMES for block in blocks(name)]


def test_the_pages_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/index.md", "docs/server.md"} <= set(NAMES)
    assert len(BLOCKS) > 15


def test_the_readme_is_what_a_person_reads_before_they_decide() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= MOST_LINES
    assert readme.count("![") == 2
    assert "make test" in readme and "make test" in text_of(".ci/run"), "the test command is the one that README gives"


@pytest.mark.parametrize("name", [name for name in NAMES if "<!-- table:" in text_of(name)])
def test_tables_are_those_of_the_code(name: str) -> None:
    assert tables.updated(text_of(name)) == text_of(name), "write them anew: python -m docs.tables"


def test_every_table_is_in_the_manual() -> None:
    marks = {mark for name in NAMES for mark in re.findall(r"<!-- table: ([\w-]+) -->", text_of(name))}
    assert marks == set(tables.TABLES)


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as mkdocs and GitHub make them."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page, broken = ROOT / name, []
    for target in LINK.findall(text_of(name)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.is_file() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_a_link_of_the_manual_stays_in_the_manual(name: str) -> None:
    """Mkdocs shows ``docs`` alone."""
    if name.startswith("docs/"):
        assert [target for target in LINK.findall(text_of(name)) if target.startswith("..")] == []


def test_every_picture_is_shown() -> None:
    shown = {
        (ROOT / n).parent / target for n in NAMES for target in LINK.findall(text_of(n)) if target.endswith(".png")
    }
    assert {path.resolve() for path in shown} == set((ROOT / "docs" / "pictures").iterdir())


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}: {block.text.split(chr(10))[0]}")
def test_every_command_is_tested_or_only_described(block: Block) -> None:
    found = MARK.search(block.mark)
    assert found, "say in a comment above the block whether it is tested, see docs/contributing.md"
    if found["file"]:
        assert f"def {found['test']}(" in text_of(found["file"])
    if found["here"]:
        assert block.commands(), "only labeltransfer commands are run here"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.page)
def test_python_names_settings_that_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".") == ["labeltransfer", "transfer"]:
            given = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
            checked({name: value for name, value in given.items() if name not in ("home", "progress")})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}: {block.text.split(chr(10))[0]}")
def test_every_command_has_options_that_exist(block: Block) -> None:
    for arguments in block.commands():
        if "--help" not in arguments:
            parser().parse_args(arguments)


@pytest.mark.parametrize("name", sorted({block.page for block in BLOCKS if "tested here" in block.mark}))
def test_commands_work(name: str, lt_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a page one after another, in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for block in blocks(name):
        if "tested here" in block.mark:
            for arguments in block.commands():
                try:
                    status = main(arguments)
                except SystemExit as end:  # --help
                    status = int(end.code or 0)
                assert status == 0, arguments
