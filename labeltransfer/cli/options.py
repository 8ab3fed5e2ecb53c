"""From the options of the command line to the settings of a run, and what they are checked for before it begins."""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.errors import RunError, SettingsError
from labeltransfer.params import RunParams, read_params_json, run_params
from labeltransfer.presets import PRESETS

if TYPE_CHECKING:
    import pandas as pd

    from labeltransfer.runs.library.reference_card import Card


def params_from_options(options: argparse.Namespace) -> RunParams:
    """Settings of a run: those of ``--params``, then the preset's, then every option that was given.

    Without ``--preset`` the default one fills in the trainings that ``--params`` says nothing of.

    Raises
    ------
    SettingsError
        A filter is not of the form column=value, a setting is out of its bounds, or two do not fit each other.
    """
    asked: dict[str, Any] = read_params_json(options.params) if options.params else {}

    def put(section: str, **values: Any) -> None:
        replace(section, {name: value for name, value in values.items() if value is not None})

    def replace(section: str, given: dict[str, Any]) -> None:
        before = asked.get(section, {})
        if not isinstance(before, dict):
            raise SettingsError(
                f"'{section}' in {options.params} is no JSON object: see params.json of a finished run."
            )
        asked[section] = before | given

    for section, settings in PRESETS[options.preset or options.default_preset].items():
        if options.preset or section not in asked:
            replace(section, settings.model_dump())
    keys = {"reference": options.labels_key}
    sides = [("reference", options.reference, options.filter_reference)]
    if options.query:
        keys["query"] = options.query_labels_key or _if_present(options.query, options.labels_key)
        sides.append(("query", options.query, options.filter_query))
    for side, path, filters in sides:
        batch_key = _if_present(path, options.batch_key) if options.batch_key else None
        put(side, path=path, labels_key=keys[side], batch_key=batch_key, filters=_filters(filters))
    if options.batch_key and not any(asked[side].get("batch_key") for side in keys):
        raise SettingsError(f"batch_key '{options.batch_key}' is an obs column of no input: name one that is.")
    put(
        "prepare",
        gene_lengths=options.gene_lengths,
        length_normalize=options.length_normalize,
        n_top_genes=options.n_top_genes,
        max_query_cells=options.max_query_cells,
    )
    put("integrate", max_epochs=options.scvi_epochs)
    put("transfer", max_epochs=options.scanvi_epochs)
    for name in ("seed", "reject_below", "hidden_label"):
        if getattr(options, name) is not None:
            asked[name] = getattr(options, name)
    asked["last_stage"] = "evaluate"  # settings of a run that was only to prepare are welcome all the same
    params = run_params(asked)
    if options.gene_lengths and params.prepare.length_normalize == "none":
        raise SettingsError(
            "--gene-lengths does nothing alone: add --length-normalize reference or query, the full-length side."
        )
    return params


def mapping_params_from_options(options: argparse.Namespace, card: "Card") -> RunParams:
    """Settings of a run that maps a query onto a published reference: those of ``--params``, then every option.

    What the reference was made with is its own, whatever a file says.

    Raises
    ------
    SettingsError
        As for :func:`params_from_options`.
    """
    from labeltransfer.runs.library.reference_card import mapping_params

    asked: dict[str, Any] = read_params_json(options.params) if options.params else {}
    own = mapping_params(card)
    known = own["reference"]["labels_key"]
    given = {
        "query": {
            "path": options.query,
            "labels_key": options.query_labels_key or _if_present(options.query, known),
            "batch_key": options.batch_key,
            "filters": _filters(options.filter_query),
        },
        "prepare": {
            "length_normalize": options.length_normalize,
            "gene_lengths": options.gene_lengths,
            "max_query_cells": options.max_query_cells,
        },
    }
    for section, values in given.items():
        asked[section] = asked.get(section, {}) | {k: v for k, v in values.items() if v is not None}
    own["transfer"]["max_epochs"] = options.epochs
    for name in ("seed", "reject_below"):
        if getattr(options, name) is not None:
            asked[name] = getattr(options, name)
    return run_params(asked | own | {"last_stage": "evaluate"})


def _filters(pairs: Sequence[str]) -> dict[str, list[str]] | None:
    chosen: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        column, equals, value = pair.partition("=")
        if not (column and equals):
            raise SettingsError(f"The filter '{pair}' is not of the form column=value, such as tissue=Marrow.")
        chosen[column].append(value)
    return dict(chosen) or None


def _if_present(path: str, column: str) -> str | None:
    """The column, if the file's obs has it."""
    return column if column in _obs(path).columns else None


@lru_cache(maxsize=2)
def _obs(path: str) -> "pd.DataFrame":
    """Table of cells of one input; kept, since several checks look at it."""
    from labeltransfer.formats.h5ad.h5ad_file import open_h5ad, read_obs

    with open_h5ad(path) as file:
        return read_obs(file)


def check(params: RunParams, out: Path | None = None) -> None:
    """Say now what would end the run later: settings that the files do not allow, a folder that takes no results."""
    from labeltransfer.data.genes.lengths import read_gene_lengths
    from labeltransfer.data.prepare.sides import check_side

    if not params.mapping:
        check_side(_obs(params.reference.path), params.reference, "reference")
    if not params.reference_alone:
        check_side(_obs(params.query.path), params.query, "query")
    _obs.cache_clear()  # a run may take hours, and large tables much memory
    if params.prepare.length_normalize != "none":
        read_gene_lengths(params.prepare.gene_lengths)
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror}): name another folder for --out.") from error
