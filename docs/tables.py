"""Write the manual's tables from the code: ``python -m docs.tables``.

Each table is between ``<!-- table: NAME -->`` and ``<!-- end of table -->`` in a page of the manual.
"""

import argparse
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labeltransfer.cli.main import parser as main_parser
from labeltransfer.config import Group, variables
from labeltransfer.params import RunParams
from labeltransfer.presets import PRESETS

ROOT = Path(__file__).parents[1]
SECTIONS = ("reference", "prepare", "integrate", "transfer", "embed", "mapping")
"""Sections of ``RunParams`` that have a table each; the query takes what the reference takes."""

_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    cells = [list(head), ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def params() -> str:
    """Every setting of a run: its name in ``params.json``, default, bounds and help, a table for each section."""
    schema = RunParams.model_json_schema()
    own = {name: field for name, field in schema["properties"].items() if "$ref" not in json.dumps(field)}
    parts = ["### The run\n\n", _settings("", own, schema.get("required", []))]
    for section in SECTIONS:
        model = RunParams.model_fields[section].annotation
        of_section = _definition(schema, section)
        about = (of_section.get("description") or str(model)).split("\n")[0]
        name = "reference, query" if section == "reference" else section
        parts += [f"\n### {name}\n\n{about}\n\n"]
        parts += [_settings(section, of_section["properties"], of_section.get("required", []))]
    return "".join(parts)


def _definition(schema: dict[str, Any], section: str) -> dict[str, Any]:
    """Schema of the model of one section."""
    (name,) = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema["properties"][section]))
    definition: dict[str, Any] = schema["$defs"][name]
    return definition


def _settings(section: str, fields: dict[str, Any], required: Sequence[str]) -> str:
    rows = []
    for name, field in fields.items():
        default = "" if name in required else f"`{json.dumps(field.get('default'))}`"
        rows.append([f"`{name}`", field["title"], default, _bounds(field), field.get("description", "")])
    return table(["setting", "on the pages", "default", "may be", "help"], rows)


def _bounds(field: dict[str, Any]) -> str:
    """What a setting may be, in words."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    kind = field | kinds[0]
    empty = " or `null`" if len(kinds) < len(field.get("anyOf", [field])) else ""
    if choices := kind.get("enum"):
        return ", ".join(f"`{choice}`" for choice in choices) + empty
    if kind.get("type") == "boolean":
        return "`true`, `false`"
    least, most = kind.get("minimum"), kind.get("maximum")
    above, below = kind.get("exclusiveMinimum"), kind.get("exclusiveMaximum")
    words = [
        *([f"from {least:,}"] if least is not None else [f"above {above:,}"] if above is not None else []),
        *([f"to {most:,}"] if most is not None else [f"below {below:,}"] if below is not None else []),
    ]
    if "maxLength" in kind:
        words.append(f"at most {kind['maxLength']} characters")
    names = {"string": "text", "object": "values by column", "array": "a list of texts"}
    return (" ".join(words) or names.get(kind.get("type", ""), "")) + (empty if words else "")


def presets() -> str:
    """What the presets set, where one of them differs from the default."""
    rows = []
    for section in ("integrate", "transfer"):
        chosen = {name: preset[section].model_dump() for name, preset in PRESETS.items()}
        for setting, field in _definition(RunParams.model_json_schema(), section)["properties"].items():
            values = [chosen[name][setting] for name in PRESETS]
            if any(value != field.get("default") for value in values):
                rows.append([f"`{section}.{setting}`", *(f"`{json.dumps(value)}`" for value in values)])
    return table(["setting", *(f"`{name}`" for name in PRESETS)], rows)


def variables_of(*groups: Group) -> str:
    """The environment variables of these groups."""
    rows = [[f"`{v.name}`", v.description, _code(v.default)] for v in variables() if v.group in groups]
    return table(["variable", "meaning", "default"], rows)


def _code(default: str) -> str:
    return default if default == "none" else f"`{default}`"


def options() -> str:
    """The options of every command, as the parser has them."""
    parts = []
    for name, about, parser in _commands(main_parser()):
        parts.append(f"### {name}\n\n{about[:1].upper()}{about[1:]}.\n\n")
        rows = [[_names(action), _help(action)] for action in parser._actions if action.dest != "help"]
        parts.append(table(["option", "meaning"], rows) + "\n" if rows else "")
    return "".join(parts)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for group in parser._actions:
        if isinstance(group, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in group._choices_actions}
            for name, command in group.choices.items():
                yield name, about.get(name, ""), command


def _names(action: argparse.Action) -> str:
    value = action.metavar or ("" if action.nargs == 0 else "{" + ",".join(map(str, action.choices or [])) + "}")
    more = " …" if action.nargs == "+" else ""
    needed = ", required" if action.required and action.option_strings else ""
    return f"`{' '.join([', '.join(action.option_strings), f'{value}{more}']).strip()}`{needed}"


def _help(action: argparse.Action) -> str:
    return (action.help or "") % (vars(action) | {"prog": "labeltransfer"})


def markers() -> str:
    """The markers of tests, as ``pyproject.toml`` has them."""
    pytest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    rows = [marker.split(": ", maxsplit=1) for marker in pytest["markers"]]
    return table(["marker", "a test with it"], [[f"`{name}`", about] for name, about in rows])


def walls() -> str:
    """Which room may import which, as the test of the walls has it."""
    from tests.unit.test_walls import MAY_IMPORT

    def place(room: str) -> str:
        return f"`{room.replace('.', '/')}`"

    rows = [[place(room), ", ".join(map(place, sorted(others))) or "none"] for room, others in MAY_IMPORT.items()]
    return table(["a module in", "may import from"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "params": params,
    "presets": presets,
    "options": options,
    "markers": markers,
    "walls": walls,
    "variables": partial(variables_of, "app", "machine"),
    "limits": partial(variables_of, "limits"),
    "ray": partial(variables_of, "ray"),
}


def updated(page: str) -> str:
    """The text of a page with its tables written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]().strip()}\n\n{found[3]}", page)


def main() -> None:
    """Write the tables of every page."""
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]):
        before = path.read_text(encoding="utf-8")
        after = updated(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
