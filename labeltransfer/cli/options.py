"""The options that are settings of a run: which option is which field of the params.

Type, bounds, default and help are the field's own, and no default is written here. The command line makes options of
this table, and Python takes the same names as keywords (``--scvi-epochs`` is ``scvi_epochs``).
"""

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from labeltransfer.errors import SettingsError
from labeltransfer.params import Params, RunParams
from labeltransfer.presets import PRESETS, PresetName, mapping_pace, scanvi_pace, scvi_epochs


@dataclass(frozen=True)
class Option:
    """An option of the command line that is a field of the params.

    ``field`` is its place, such as ``integrate.max_epochs``. ``help`` replaces the field's own where one field serves
    both sides; ``unset`` says what becomes of a setting that is left open; ``choices`` are fewer than the field allows.
    """

    flag: str
    field: str
    metavar: str | None = "N"
    help: str = ""
    unset: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def name(self) -> str:
        """As a keyword of Python, and in the parsed options."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def section(self) -> str:
        """The stage or side that the field belongs to; empty for the run itself."""
        return self.field.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Name of the field in its section."""
        return self.field.rpartition(".")[2]

    @property
    def info(self) -> FieldInfo:
        """The field: its type, bounds, default and help."""
        model: type[Params] = RunParams
        for part in self.field.split(".")[:-1]:
            model = model.model_fields[part].annotation  # type: ignore[assignment]  # sections are models
        return model.model_fields[self.key]


def _filter(side: str) -> Option:
    about = f"keep {side} cells with this value; repeat a column for a choice of values"
    return Option(f"--filter-{side}", f"{side}.filters", "COL=VALUE", about)


REFERENCE = Option("--reference", "reference.path", "R.h5ad", "annotated cells", required=True)
QUERY = Option("--query", "query.path", "Q.h5ad", "cells to label", required=True)
LABELS_KEY = Option(
    "--labels-key", "reference.labels_key", "KEY", "obs column with the reference's labels", required=True
)
QUERY_LABELS_KEY = Option(
    "--query-labels-key", "query.labels_key", "KEY", "obs column to score against", unset="--labels-key"
)
BATCH_KEY = Option("--batch-key", "reference.batch_key", "KEY", "obs column with batches (mouse, donor)", unset="none")
FILTER_REFERENCE, FILTER_QUERY = _filter("reference"), _filter("query")
GENE_LENGTHS = Option("--gene-lengths", "prepare.gene_lengths", "FILE", unset="the tutorial's mouse table")
LENGTH_NORMALIZE = Option("--length-normalize", "prepare.length_normalize", None)
N_TOP_GENES = Option("--n-top-genes", "prepare.n_top_genes")
MAX_QUERY_CELLS = Option("--max-query-cells", "prepare.max_query_cells")
SCVI_EPOCHS = Option("--scvi-epochs", "integrate.max_epochs")
SCANVI_EPOCHS = Option("--scanvi-epochs", "transfer.max_epochs")
MAPPING_EPOCHS = Option("--epochs", "transfer.max_epochs", help="passes over the query")
ANSWER = Option("--answer", "panel.answer")
LEAVE_OUT = Option("--leave-out", "panel.left_out", "NAME", unset="all are asked")
SEED = Option("--seed", "seed")
REJECT_BELOW = Option("--reject-below", "reject_below", "P", unset="all are kept")
LEVEL_KEYS = Option(
    "--level-keys",
    "level_keys",
    "KEY",
    "obs columns of the reference that are coarser levels of its labels: each label has one parent there",
    unset="families of the Cell Ontology",
)
ERROR_TO_BEAR = Option("--error-to-bear", "error_to_bear", "P")
HIDE_LABEL = Option("--hide-label", "hidden_label", "LABEL", unset="none is hidden")

RUN = (
    *(REFERENCE, QUERY, LABELS_KEY, QUERY_LABELS_KEY, BATCH_KEY, FILTER_REFERENCE, FILTER_QUERY),
    *(GENE_LENGTHS, LENGTH_NORMALIZE, N_TOP_GENES, MAX_QUERY_CELLS),
    *(SCVI_EPOCHS, SCANVI_EPOCHS, ANSWER, LEAVE_OUT, SEED, REJECT_BELOW, LEVEL_KEYS, ERROR_TO_BEAR, HIDE_LABEL),
)
"""Options of ``run``, and keywords of Python's ``transfer``."""

TRAIN_REFERENCE = (
    *(REFERENCE, LABELS_KEY, BATCH_KEY, FILTER_REFERENCE, GENE_LENGTHS),
    Option("--length-normalize", "prepare.length_normalize", None, choices=("none", "reference")),
    *(N_TOP_GENES, SCVI_EPOCHS, SCANVI_EPOCHS, SEED),
)
"""Options of ``train-reference``."""

MAP = (
    QUERY,
    Option(
        "--labels-key",
        "query.labels_key",
        "KEY",
        "obs column to score against",
        unset="the reference's own, where the query has it",
    ),
    Option("--batch-key", "query.batch_key", "KEY", "obs column with the query's batches", unset="none"),
    *(FILTER_QUERY, GENE_LENGTHS),
    Option("--length-normalize", "prepare.length_normalize", None, choices=("none", "query")),
    *(MAX_QUERY_CELLS, MAPPING_EPOCHS, ANSWER, LEAVE_OUT, SEED, REJECT_BELOW, LEVEL_KEYS, ERROR_TO_BEAR),
)
"""Options of ``map``."""


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option], *, preset: PresetName) -> None:
    """Add options to a command whose preset is ``preset`` unless another one is asked for."""
    for option in options:
        form: dict[str, Any] = {"metavar": option.metavar, "type": _reader(option)}
        if choices := choices_of(option):
            form = {"choices": choices} | ({"metavar": option.metavar} if is_list(option) else {})
        elif _is_filter(option):
            form = {"metavar": option.metavar, "nargs": "+", "action": "extend", "default": []}
        if is_list(option):
            form = {"nargs": "+", "action": "extend"} | {name: v for name, v in form.items() if name != "type"}
        about = help_of(option, preset=preset).replace("%", "%%")
        parser.add_argument(option.flag, required=option.required, help=about, **form)


def help_of(option: Option, *, preset: PresetName) -> str:
    """The help of an option: the field's, and what it is by default where it need not be given."""
    # An option cannot be empty: what that means on a page is said as its default.
    about = option.help or re.sub(r"[;.] [Ee]mpty\b[^.]*", "", option.info.description or "").removesuffix(".")
    about = about if option.help or about[1:2].isupper() else about[:1].lower() + about[1:]
    about += f": {', '.join(choices_of(option))}" if is_list(option) and choices_of(option) else ""
    if option.required or _is_filter(option):
        return about
    return f"{about} (default: {default_of(option, preset=preset)})"


def default_of(option: Option, *, preset: PresetName) -> str:
    """What a setting is where an option is not given, in words: the preset's value, else the field's own."""
    if option is MAPPING_EPOCHS:
        return f"at most {mapping_pace(None, n_cells=1).max_epochs}, fewer for many cells"
    value = option.info.default
    if option.section in PRESETS[preset]:
        value = getattr(PRESETS[preset][option.section], option.key)
        if value is None:
            return f"by preset; {preset}: at most {_most_epochs(option, preset)}, fewer for many cells"
    if value is None or value == ():
        return option.unset
    return f"{value:g}" if isinstance(value, float) else str(value)


def _most_epochs(option: Option, preset: PresetName) -> int:
    """Epochs of a training that leaves them to its preset, on few cells."""
    trainings: dict[str, Any] = PRESETS[preset]
    if option is SCVI_EPOCHS:
        return scvi_epochs(trainings["integrate"], n_cells=1)
    return scanvi_pace(trainings["transfer"], n_cells=1).max_epochs


def choices_of(option: Option) -> tuple[str, ...]:
    """What an option can be, where it is one of a few words; empty where it is not."""
    annotation = get_args(option.info.annotation)[0] if is_list(option) else option.info.annotation
    return option.choices or (get_args(annotation) if get_origin(annotation) is Literal else ())


def value_of(option: Option, given: Any) -> Any:
    """A value as the field has it, made from text or from a value of Python.

    Raises
    ------
    SettingsError
        It is of another type or out of bounds.
    """
    try:
        return _adapter(option.field).validate_python(given)
    except ValidationError as error:
        raise SettingsError(f"{named_value(given)} is not {allowed_words(option)}") from error


def named_value(value: Any) -> str:
    """A value as a message shows it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def allowed_words(option: Option) -> str:
    """What an option takes, in words, such as "a whole number from 100 to 10000"."""
    if choices := choices_of(option):
        return f"{'a list of some' if is_list(option) else 'one'} of {', '.join(choices)}"
    if is_list(option):
        return "a list of texts"
    kinds = {kind for kind in (get_args(option.info.annotation) or (option.info.annotation,)) if kind is not None}
    if not kinds & {int, float}:
        return "text"
    words = "a whole number" if int in kinds else "a number"
    for bound in option.info.metadata:
        if isinstance(bound, Ge):
            words += f" from {bound.ge}"
        elif isinstance(bound, Gt):
            words += f" above {bound.gt}"
        elif isinstance(bound, Le):
            words += f" to {bound.le}" if " from " in words else f" and at most {bound.le}"
    return words


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    info = Option("", field).info
    form: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    return TypeAdapter(form)


def _reader(option: Option) -> Callable[[str], Any]:
    """Read the text of an option on the command line."""

    def read(text: str) -> Any:
        try:
            return value_of(option, text)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def is_list(option: Option) -> bool:
    """Whether an option takes several values, all of them text."""
    return get_origin(option.info.annotation) is tuple


def _is_filter(option: Option) -> bool:
    return option.key == "filters"
