"""Carry labels from a reference to a query, from Python."""

import argparse
import difflib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.api.inputs import PathLike, stored, stored_name
from labeltransfer.api.result import Transfer
from labeltransfer.cli.asked import check, params_from_options
from labeltransfer.cli.options import QUERY, REFERENCE, RUN, Option, is_list, named_value, value_of
from labeltransfer.config import check_variables
from labeltransfer.errors import SettingsError
from labeltransfer.presets import DEFAULT_PRESET, PRESETS

if TYPE_CHECKING:
    import anndata as ad

OPTIONS: dict[str, Option] = {option.name: option for option in RUN if option not in (REFERENCE, QUERY)}
"""Settings by keyword."""


def transfer(
    reference: "ad.AnnData | PathLike",
    query: "ad.AnnData | PathLike",
    *,
    labels_key: str,
    home: PathLike | None = None,
    progress: bool = True,
    **params: Any,
) -> Transfer:
    """Carry cell-type labels from an annotated reference to a query: scVI, then scANVI, as the app does it.

    The stages are carried out in another process, as the app carries them out: seeds, numbers of threads and visible
    GPUs of this one stay as they are, and its memory is not used for training. An interrupt (Ctrl-C, or the notebook's
    stop button) ends that process too; finished stages are kept in ``home``.

    Parameters
    ----------
    reference
        Annotated cells: an AnnData, or the path of an h5ad file. Raw counts are looked for in ``X``, ``layers`` and
        ``raw``.
    query
        Cells to label, likewise; other genes and another technology are expected. Neither object is changed.
    labels_key
        obs column of the reference with the cell types. Where the query has it as well, its labels are used for scores
        alone.
    home
        Folder that keeps the run and its stages: a second call with the same cells and settings uses them again, and so
        does the app, started with ``LABELTRANSFER_HOME`` set to it. None takes a temporary folder, which is removed
        with the result; such a run does not wait for other runs on this machine.
    progress
        Whether stages and epochs are shown on stderr; where there is no terminal, as in a notebook, a line a stage.
    **params
        Settings by the names of the command line's long options (``labeltransfer run --help`` lists them):

        - ``preset``: ``"fast"`` (default), ``"tutorial"``, ``"quick"`` or ``"atlas"``.
        - ``scvi_epochs``, ``scanvi_epochs``, ``n_top_genes``, ``max_query_cells``, ``seed``: whole numbers.
        - ``query_labels_key``, ``batch_key``: obs columns.
        - ``filter_reference``, ``filter_query``: values to keep by obs column, such as ``{"tissue": "Marrow"}`` or
          ``{"tissue": ["Marrow", "Spleen"]}``.
        - ``length_normalize``: ``"reference"`` or ``"query"``, the side of a full-length protocol; ``gene_lengths``: a
          file.
        - ``answer``: ``"consensus"`` (default) or ``"scanvi"``, whose label is handed out; ``leave_out``: names of
          classifiers that are not asked.
        - ``level_keys``: obs columns of the reference that are coarser levels of its labels; ``error_to_bear``: share
          of wrong labels to be borne, which decides how fine ``label`` is.
        - ``reject_below``: confidence below which a label becomes ``"Unknown"``; ``hide_label``: a label to leave out.
        - ``params``: any other setting by section, such as ``{"integrate": {"n_latent": 20}}``, or the path of a run's
          ``params.json``. The names above win over it, a preset over all of ``integrate`` and ``transfer``.

    Returns
    -------
    An object with ``query`` (the query's AnnData with labels, confidence, latents and map), ``labels`` (a table),
    ``scores``, ``alarm``, ``report(path)`` and ``run``; see :class:`.Transfer`.

    Raises
    ------
    SettingsError
        A setting has an unknown name, is out of bounds, or does not fit the data.
    InputError
        The reference or the query cannot be used as it is.
    RunError
        The run failed.
    RunCancelled
        It was cancelled from elsewhere, such as in the app.

    Examples
    --------
    >>> import labeltransfer
    >>> result = labeltransfer.transfer(
    ...     "reference.h5ad", adata, labels_key="cell_type", preset="quick", filter_reference={"tissue": "Marrow"}
    ... )  # doctest: +SKIP
    >>> result.query.obs[["predicted_label", "confidence"]]  # doctest: +SKIP
    >>> result.alarm is None, result.scores  # doctest: +SKIP
    >>> result.report("report.html")  # doctest: +SKIP
    """
    from labeltransfer.runs.records.store import Store
    from labeltransfer.runs.start.admission import admit
    from labeltransfer.runs.start.terminal import carry_out_aside

    check_variables()
    given = checked({"labels_key": labels_key, **params})
    folder = Path(tempfile.mkdtemp(prefix="labeltransfer-")) if home is None else Path(home).expanduser().resolve()
    try:
        paths = {"reference": stored(reference, "reference", folder / "inputs")}
        paths["query"] = stored(query, "query", folder / "inputs")
        for side, path in paths.items():
            setattr(given, side, str(path))
        _rename(given, [s for s, i in (("reference", reference), ("query", query)) if not _is_path(i)])
        asked = params_from_options(given)
        check(asked)
        run = carry_out_aside(admit(Store(folder), asked), shown=progress)
        result = Transfer(run, paths["query"] if isinstance(query, str | os.PathLike) else _copy(query))
    except BaseException:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if home is None:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    return result


def checked(given: Mapping[str, Any]) -> argparse.Namespace:
    """Settings by keyword as the command line would have parsed them; what is not given is None, or no filter.

    Raises
    ------
    SettingsError
        A name is unknown, or a value is of another type or out of bounds.
    """
    options = argparse.Namespace(default_preset=DEFAULT_PRESET, preset=None, params=None)
    for name, option in OPTIONS.items():
        setattr(options, name, {} if option.key == "filters" else None)
    for name, value in given.items():
        if name not in OPTIONS and name not in ("preset", "params"):
            raise SettingsError(f"There is no setting '{name}': {_meant(name)}.")
        if value is not None:
            setattr(options, name, _value(name, value))
    if not options.labels_key:
        raise SettingsError("labels_key is empty: name the obs column of the reference that holds its cell types.")
    return options


def _value(name: str, value: Any) -> Any:
    if name == "preset":
        if value not in PRESETS:
            raise SettingsError(f"preset is {named_value(value)}: choose one of {', '.join(PRESETS)}.")
        return value
    if name == "params":
        if not (isinstance(value, Mapping) or _is_path(value)):
            raise SettingsError("params is neither a dictionary of settings nor the path of a params.json: give one.")
        return value
    option = OPTIONS[name]
    if option.key == "filters":
        if not isinstance(value, Mapping):
            raise SettingsError(f"{name} is {named_value(value)}: give a dictionary, such as {{'tissue': 'Marrow'}}.")
        return value
    if is_list(option):
        value = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else value
    try:
        return value_of(option, os.fspath(value) if isinstance(value, os.PathLike) else value)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}.") from error


def _meant(name: str) -> str:
    """What a name that is unknown could be, as the way out of an error."""
    names = [*OPTIONS, "preset", "params", "home", "progress"]
    fields = [option.name for option in OPTIONS.values() if option.key == name]
    near = list(dict.fromkeys([*fields, *difflib.get_close_matches(name, names, n=3)]))
    if near:
        return f"perhaps {' or '.join(near)} is meant"
    return f"choose among {', '.join(names)}; others go into params, by section"


def _rename(options: argparse.Namespace, given_as_objects: Iterable[str]) -> None:
    """Have column names mean those of the stored file, where an AnnData has names that no file can hold."""
    for side in given_as_objects:
        key = "labels_key" if side == "reference" else "query_labels_key"
        for name in (key, "batch_key"):
            if value := getattr(options, name):
                setattr(options, name, stored_name(value))
        if side == "reference" and options.level_keys:
            options.level_keys = [stored_name(key) for key in options.level_keys]
        filters = getattr(options, f"filter_{side}")
        setattr(options, f"filter_{side}", {stored_name(column): values for column, values in filters.items()})


def _copy(adata: "ad.AnnData") -> "ad.AnnData":
    return adata.to_memory() if adata.isbacked else adata.copy()


def _is_path(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)
