"""Gene lengths, by which the counts of full-length protocols are divided."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from labeltransfer.config import config
from labeltransfer.errors import DownloadError, InputError
from labeltransfer.storage.digests import file_digest
from labeltransfer.storage.download import download
from labeltransfer.storage.home import home

TUTORIAL_URL = "https://raw.githubusercontent.com/chenlingantelope/HarmonizationSCANVI/master/data/gene_len.txt"
"""The mouse table that the scvi-tools tutorial uses: 20,508 genes."""
TUTORIAL_SHA256 = "6d29f7f46de0157ea5cf0d60f6885f3134f8e4e84385e4146c63bf95da19f860"
MAX_BYTES = 100_000_000
"""Larger files are no gene-length tables."""


def read_gene_lengths(path: str | None, *, report: Callable[[str], None] | None = None) -> pd.Series:
    """Read a table of gene lengths.

    Parameters
    ----------
    path
        Text file with a gene and a length on each line, separated by spaces, a tab or a comma, with or without a
        header. None takes the tutorial's mouse table, fetched once and kept.
    report
        Called with plain sentences: where the table comes from and what was noticed in it.

    Returns
    -------
    Series of shape (n_genes,), indexed by gene name. The unit is the table's own: lengths are only used relative to
    their median.

    Raises
    ------
    InputError
        The file is no such table; names the line.
    DownloadError
        The tutorial's table is not there and cannot be fetched.
    """
    note = report or (lambda sentence: None)
    file = tutorial_table() if path is None else Path(path).expanduser()
    lengths = _parse(_read_text(file), file.name, note)
    source = "the tutorial's mouse table" if path is None else file.name
    note(f"Gene lengths come from {source}: {len(lengths):,} genes, median length {lengths.median():g}.")
    return lengths


def tutorial_table() -> Path:
    """Path of the tutorial's table, fetched if it is not there yet.

    ``$LABELTRANSFER_MIRROR`` replaces the host, as for the data sets.

    Raises
    ------
    DownloadError
        The table cannot be fetched, or what arrives is another file.
    """
    target = home() / "downloads" / "gene_len.txt"
    mirror = config().mirror
    url = f"{mirror}/{target.name}" if mirror else TUTORIAL_URL
    try:
        return download(url, target, check=_check_tutorial_table)
    except DownloadError as error:
        raise DownloadError(
            f"The tutorial's gene-length table is not to be had: {error} Or give a file with a gene and a length on "
            "each line as the gene-length table, or switch gene-length normalisation off."
        ) from error


def _check_tutorial_table(path: Path) -> None:
    if file_digest(path) != TUTORIAL_SHA256:
        raise DownloadError("What arrived is another file than the tutorial's (its checksum differs).")


def _read_text(path: Path) -> str:
    way_out = "give a text file with a gene and a length on each line"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is too large for a gene-length table: {way_out}.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Gene-length table {path} cannot be read ({error.strerror}): {way_out}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"Gene-length table {path} is not a text file: {way_out}.") from error
    if "\0" in text:
        raise InputError(f"Gene-length table {path} is not a text file: {way_out}.")
    return text


def _parse(text: str, name: str, note: Callable[[str], None]) -> pd.Series:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise InputError(f"Gene-length table {name} is empty: it needs a gene and a length on each line.")
    separator = next((s for s in "\t," if s in lines[0][1]), None)
    lengths: dict[str, float] = {}
    line_of: dict[str, int] = {}
    repeated: list[str] = []
    for position, (number, line) in enumerate(lines):
        fields = _split(line, separator)
        if len(fields) != 2 or not fields[0]:
            raise InputError(
                f"Line {number} of gene-length table {name} is {line[:80]!r}: it needs one gene and one length."
            )
        gene, length = fields[0], _length(fields[1])
        if length is None:
            if position == 0 and not _numeric(fields[1]):
                note(f"The first line of {name} ({line.strip()[:80]!r}) was taken for a header.")
                continue
            raise InputError(
                f"Line {number} of gene-length table {name} gives {gene} the length {fields[1]!r}: it has to be a "
                "number above 0."
            )
        if lengths.setdefault(gene, length) != length:
            raise InputError(
                f"Gene-length table {name} gives {gene} two lengths, {lengths[gene]:g} in line {line_of[gene]} and "
                f"{length:g} in line {number}: keep one of them."
            )
        if gene in line_of:
            repeated.append(gene)
        line_of.setdefault(gene, number)
    if not lengths:
        raise InputError(f"Gene-length table {name} has a header alone: it needs a gene and a length on each line.")
    if repeated:
        note(f"{name} names {len(set(repeated)):,} genes more than once, each with the same length: {repeated[0]}, ...")
    return pd.Series(lengths, name="gene_length", dtype=float).rename_axis("gene")


def _split(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=separator))]


def _length(text: str) -> float | None:
    """The length as a number, None where it is none or not above 0."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) else None


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
