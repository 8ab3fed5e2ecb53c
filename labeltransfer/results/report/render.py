"""A run as one HTML file for the supplement of a paper: it loads nothing, prints, and follows the reader's dark mode.

Labels, genes and file names are text of other people: the template escapes all of it, and none of it is in a script or
a style.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from labeltransfer.params import EmbedParams, Params, PrepareParams, RunParams
from labeltransfer.presets import PRESETS
from labeltransfer.results.figures.colours import label_colours
from labeltransfer.results.levels.in_words import coverage_words, promise_words
from labeltransfer.results.report.methods_text import methods
from labeltransfer.results.report.svg_figures import CURVE, SIDE, curve_points, label_scores, maps, matrix
from labeltransfer.results.scores.cells import CONSENSUS, METHODS

TEMPLATE = "report.html.j2"
METHOD_NAMES = METHODS | {CONSENSUS: "Consensus of all"}
MOST_AUDITED = 100
"""Rows of the audit that a report shows; all are in the CSV."""


@dataclass(frozen=True)
class Material:
    """What a report is written from; parts that a run lacks are empty, and the report says so.

    ``summary``, ``metrics`` and ``trust`` are the run's JSON files of these names, ``history`` the events of both
    trainings, ``versions`` by package, ``seconds`` by stage title, ``audit`` the table of the label audit (None where
    the run has none), ``edits`` what was changed by hand (:meth:`.Edit.as_dict`), ``made`` the date.
    """

    run_id: str
    params: RunParams
    cells: pd.DataFrame
    summary: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    trust: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    audit: pd.DataFrame | None = None
    edits: Sequence[Mapping[str, Any]] = ()
    made: str = ""


def render(material: Material) -> str:
    """Write the report.

    Returns
    -------
    HTML of a few hundred kB, whatever the number of cells: maps draw a sample and say of how many.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"n": _whole, "share": share, "words": words}
    return environment.get_template(TEMPLATE).render(**_content(material))


def _content(material: Material) -> dict[str, Any]:
    """What the template shows, by name."""
    cells, params, trust = material.cells, material.params, material.trust
    labels = pd.concat([pd.Series(cells[f"{n}_label"].unique()) for n in ("observed", "predicted")])
    columns, tiles, known = matrix(cells)
    text, citations = methods(
        params,
        summary=material.summary,
        history=[dict(event) for event in material.history],
        trust=trust,
        versions=material.versions,
    )
    preset, changed, same = compare_with_preset(params)
    return {
        "m": material,
        "title": params.name or material.run_id,
        "sides": [_side(material, side) for side in ("reference", "query")],
        "genes": material.summary.get("genes", {}),
        "gene_lengths": _gene_lengths(params),
        "preset": preset,
        "changed": changed,
        "same": same,
        "query": material.metrics.get("query") or {},
        "label_scores": label_scores(cells),
        "columns": columns,
        "tiles": tiles,
        "known": known,
        "maps": maps(cells, label_colours(labels.dropna())),
        "map_side": SIDE,
        "curve_side": CURVE,
        "calibration": _calibration(trust),
        "methods": list(_methods(trust)),
        "promise": _promise(cells, trust),
        "answer": METHOD_NAMES.get(trust.get("answer", "scanvi"), ""),
        "absent": {METHOD_NAMES.get(name, name): reason for name, reason in (trust.get("absent") or {}).items()},
        "best_method": METHOD_NAMES.get(trust.get("best_method") or "", ""),
        "alarm": trust.get("alarm") or {},
        "ontology": trust.get("ontology") or {},
        "audit": None if material.audit is None else material.audit.head(MOST_AUDITED).to_dict("records"),
        "n_audit": 0 if material.audit is None else len(material.audit),
        "edits": [_edit(edit) for edit in material.edits],
        "methods_text": text,
        "citations": citations,
    }


def compare_with_preset(params: RunParams) -> tuple[str, list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The preset that a run is nearest to, and its settings: those that differ from it, and the others.

    Returns
    -------
    The preset's name; rows of (section, setting, value, value of the preset) that differ; rows of (section, setting,
    value) that are the same. What no preset sets is compared with its default. The sides are reported elsewhere.
    """
    asked: dict[str, Params] = {"integrate": params.integrate, "transfer": params.transfer}

    def n_different(preset: str) -> int:
        own = PRESETS[preset]  # type: ignore[index]
        return sum(
            getattr(asked[s], name) != getattr(own[s], name) for s in asked for name in type(own[s]).model_fields
        )

    preset = min(PRESETS, key=n_different)
    sections: dict[str, tuple[Params, Params]] = {
        "Genes and cells": (params.prepare, PrepareParams()),
        "scVI": (params.integrate, PRESETS[preset]["integrate"]),
        "scANVI": (params.transfer, PRESETS[preset]["transfer"]),
        "Labels": (params.panel, PRESETS[preset]["panel"]),
        "Maps": (params.embed, EmbedParams()),
    }
    changed: list[tuple[str, ...]] = []
    same: list[tuple[str, ...]] = []
    for section, (own, other) in sections.items():
        for name, about in type(own).model_fields.items():
            value, before = words(getattr(own, name)), words(getattr(other, name))
            title = about.title or name
            if value == before:
                same.append((section, title, value))
            else:
                changed.append((section, title, value, before))
    for name, about in RunParams.model_fields.items():
        own_value = getattr(params, name)
        if isinstance(own_value, Params) or name in ("name", "seed", "last_stage"):
            continue
        row = ("Run", about.title or name, words(own_value))
        changed.append((*row, words(about.default))) if own_value != about.default else same.append(row)
    return preset, changed, same


def _side(material: Material, side: str) -> dict[str, Any]:
    """One input in words: a file by its name, because its folder is private."""
    asked = material.params.reference if side == "reference" else material.params.query
    counted = material.summary.get(side) or {}
    return {
        "side": side,
        "file": Path(asked.path).name,
        "technology": counted.get("technology") or asked.technology or "not named",
        "labels_key": asked.labels_key or "none",
        "batch_key": asked.batch_key or "none",
        "filters": words(asked.filters),
        "counts": counted.get("counts", asked.counts),
        "counted": counted,
        "n_cells": int((material.cells["side"] == side).sum()),
        "labels": counted.get("labels", {}),
    }


def _gene_lengths(params: RunParams) -> str:
    side = params.prepare.length_normalize
    if side == "none":
        return "Counts were not normalised by gene length."
    table = params.prepare.gene_lengths
    source = f"the table {Path(table).name}" if table else "the tutorial's mouse table"
    return f"Counts of the {side} were divided by gene length, matched by name; lengths come from {source}."


def _promise(cells: pd.DataFrame, trust: Mapping[str, Any]) -> str:
    """How fine the labels at levels are, and what is promised of them; empty for runs without them."""
    if "label_level" not in cells or not {"levels", "alarm"} <= set(trust):
        return ""
    query = cells.loc[cells["side"] == "query", "label_level"]
    return f"{coverage_words(query)} {promise_words(trust)}"


def _calibration(trust: Mapping[str, Any]) -> dict[str, Any]:
    """Calibration of the label that is handed out where trust.json has all of it, else nothing."""
    own = (trust.get("methods") or {}).get(trust.get("answer", "scanvi")) or {}
    before, after = own.get("before") or {}, own.get("after") or {}
    if not own.get("n_cells") or before.get("ece") is None or after.get("ece") is None:
        return {}
    return {
        "n_cells": own["n_cells"],
        "temperature": own.get("temperature"),
        "before": before["ece"],
        "after": after["ece"],
        "curves": [("before", curve_points(before)), ("after", curve_points(after))],
    }


def _methods(trust: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Scores of each method that was judged on held-out reference cells or on the query."""
    held_out, query = trust.get("methods") or {}, trust.get("query") or {}
    for name, title in METHOD_NAMES.items():
        own, scored = held_out.get(name) or {}, query.get(name) or {}
        if own or scored:
            ece = (own.get("after") or {}).get("ece")
            yield {"title": title, "held_out": own, "ece": ece, "query": scored}


def _edit(edit: Mapping[str, Any]) -> dict[str, Any]:
    """One edit, see :class:`.edits.Edit`, in the words of the report."""
    return {
        "name": edit["name"],
        "action": f"{edit['action']} {edit['label']}".strip(),
        "n_cells": len(edit["rows"]),
        "who": edit.get("who") or "not signed in",
    }


def words(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} = {' or '.join(map(str, own))}" for key, own in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    return "automatic" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _whole(value: Any) -> str:
    """A whole number with its thousands set apart."""
    return f"{int(value):,}"


def share(part: Any, whole: Any) -> str:
    """A share in per cent with what it is a share of; a dash where nothing is in the denominator."""
    return f"{part / whole:.1%} ({int(part):,} of {int(whole):,})" if whole else "–"
