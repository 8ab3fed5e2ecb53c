"""From options to the params of a run, and what is checked before it begins."""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.cli.options import (
    ANSWER,
    ERROR_TO_BEAR,
    GENE_LENGTHS,
    HIDE_LABEL,
    LEAVE_OUT,
    LENGTH_NORMALIZE,
    LEVEL_KEYS,
    MAX_QUERY_CELLS,
    N_TOP_GENES,
    REJECT_BELOW,
    SCANVI_EPOCHS,
    SCVI_EPOCHS,
    SEED,
    Option,
)
from labeltransfer.errors import RunError, SettingsError
from labeltransfer.params import RunParams, read_params_json, run_params
from labeltransfer.presets import PRESETS
from labeltransfer.storage.home import users_umask

if TYPE_CHECKING:
    import pandas as pd

    from labeltransfer.runs.library.reference_card import Card

_OF_THE_RUN = (ANSWER, LEAVE_OUT, SEED, REJECT_BELOW, LEVEL_KEYS, ERROR_TO_BEAR, HIDE_LABEL)
_OF_A_MAPPING = (GENE_LENGTHS, LENGTH_NORMALIZE, MAX_QUERY_CELLS, *_OF_THE_RUN[:-1])
_OF_THE_STAGES = (GENE_LENGTHS, LENGTH_NORMALIZE, N_TOP_GENES, MAX_QUERY_CELLS, SCVI_EPOCHS, SCANVI_EPOCHS)


def params_from_options(options: argparse.Namespace) -> RunParams:
    """Params of a run: those of ``--params``, then the preset's, then every option that was given.

    Without ``--preset`` the default one fills in the trainings that ``--params`` does not mention.

    Raises
    ------
    SettingsError
        A filter is not of the form column=value, a setting is out of its bounds, or two do not fit each other.
    """
    _obs.cache_clear()  # in a notebook, files change between two runs
    asked = _from_file(options)
    for section, params in PRESETS[options.preset or options.default_preset].items():
        if options.preset or section not in asked:
            _put(asked, section, params.model_dump())
    sides = [("reference", options.reference, options.filter_reference)]
    keys = {"reference": options.labels_key}
    if options.query:
        sides.append(("query", options.query, options.filter_query))
        keys["query"] = options.query_labels_key or _if_present(options.query, options.labels_key)
    for side, path, filters in sides:
        batch_key = _if_present(path, options.batch_key) if options.batch_key else None
        own = {"path": path, "labels_key": keys[side], "batch_key": batch_key, "filters": _filters(filters)}
        _put(asked, side, _given(own))
    if options.batch_key and not any(asked[side].get("batch_key") for side in keys):
        raise SettingsError(f"batch_key '{options.batch_key}' is an obs column of no input: name one that is.")
    _put_options(asked, options, (*_OF_THE_STAGES, *_OF_THE_RUN))
    # A file from a run that only prepared its inputs is as good as any other.
    params = run_params(asked | {"last_stage": "evaluate"})
    if options.gene_lengths and params.prepare.length_normalize == "none":
        raise SettingsError(
            "--gene-lengths does nothing alone: add --length-normalize reference or query, the full-length side."
        )
    return params


def mapping_params_from_options(options: argparse.Namespace, card: "Card") -> RunParams:
    """Params of a run that maps a query onto a published reference: those of ``--params``, then every option.

    How the reference was made is not changed by a file.

    Raises
    ------
    SettingsError
        As for :func:`params_from_options`.
    """
    from labeltransfer.runs.library.reference_card import mapping_params

    _obs.cache_clear()
    asked = _from_file(options)
    own = mapping_params(card)
    known = own["reference"]["labels_key"]
    query = {
        "path": options.query,
        "labels_key": options.labels_key or _if_present(options.query, known),
        "batch_key": options.batch_key,
        "filters": _filters(options.filter_query),
    }
    _put(asked, "query", _given(query))
    _put_options(asked, options, _OF_A_MAPPING)
    own["transfer"]["max_epochs"] = options.epochs
    return run_params(asked | own | {"last_stage": "evaluate"})


def _from_file(options: argparse.Namespace) -> dict[str, Any]:
    """Params of ``--params``, a file or in Python a dictionary; its sections are dictionaries too."""
    if options.params is None:
        return {}
    asked = dict(options.params) if isinstance(options.params, Mapping) else read_params_json(Path(options.params))
    for section, field in RunParams.model_fields.items():
        has_fields = hasattr(field.annotation, "model_fields")
        if has_fields and section in asked and not isinstance(asked[section], Mapping):
            where = "params" if isinstance(options.params, Mapping) else options.params
            raise SettingsError(f"'{section}' in {where} is no JSON object: see params.json of a finished run.")
    return asked


def _put_options(asked: dict[str, Any], options: argparse.Namespace, wanted: Iterable[Option]) -> None:
    """Put what was given of some options to its place."""
    for option in wanted:
        value = getattr(options, option.name, None)
        if value is not None:
            _put(asked, option.section, {option.key: value})


def _put(asked: dict[str, Any], section: str, given: Mapping[str, Any]) -> None:
    """Put values into a section, those of the run itself to the top."""
    if section:
        asked[section] = {**asked.get(section, {}), **given}
    else:
        asked.update(given)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _filters(asked: Iterable[str] | Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Wanted values by column; from the command line as ``COL=VALUE``, from Python as a dictionary."""
    chosen: dict[str, list[str]] = defaultdict(list)
    if isinstance(asked, Mapping):
        for column, values in asked.items():
            one = isinstance(values, str) or not isinstance(values, Iterable)
            chosen[str(column)] = [str(value) for value in ([values] if one else values)]
        return dict(chosen) or None
    for pair in asked:
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
    from labeltransfer.formats import open_input

    with open_input(path) as opened:
        return opened.obs()


def check(params: RunParams, out: Path | None = None) -> None:
    """Raise now what would end the run later: settings that the files do not allow, a folder that takes no results."""
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
        with users_umask():
            out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror}): name another folder for --out.") from error
