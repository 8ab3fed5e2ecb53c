"""Gene names: what they are, and which columns of a table of genes could give others."""

import pandas as pd

from labeltransfer.errors import SettingsError
from labeltransfer.units import shorten

_ENSEMBL = r"^(ENS[A-Z]*G\d{11})(\.\d+)?$"


def names_to_match(var: pd.DataFrame, column: str | None, *, file_name: str) -> pd.Index:
    """Names by which the genes of a file are matched, (n_genes,).

    Version numbers of Ensembl ids are dropped (ENSG00000141510.18 becomes ENSG00000141510), since they differ between
    annotation releases. Genes without a name in the column keep the one of the index.

    Parameters
    ----------
    var
        Table of genes, n_genes rows.
    column
        Its column with the names; None for the index.
    file_name
        Name of the file in messages.

    Raises
    ------
    SettingsError
        There is no such column.
    """
    names = pd.Series(var.index.astype(str).to_numpy(), dtype=object)
    if column:
        if column not in var:
            raise SettingsError(
                f"{file_name}: there is no var column '{column}' with gene names. There are: {shorten(var.columns)}."
            )
        given = pd.Series(var[column].to_numpy(), dtype=object)
        present = given.notna() & (given.astype(str).str.strip() != "")
        names = given.where(present, names).astype(str).str.strip()
    return pd.Index(names.str.replace(_ENSEMBL, r"\1", regex=True), dtype=object)


def are_ensembl(names: pd.Index) -> bool:
    """Whether most names are Ensembl gene ids."""
    return len(names) > 0 and float(names.str.match(_ENSEMBL).mean()) > 0.5


def name_columns(var: pd.DataFrame) -> list[str]:
    """Columns of a table of genes that could name them: text, with a different name for most genes."""
    text = [c for c in var.columns if isinstance(var[c].dtype, pd.CategoricalDtype) or var[c].dtype.kind == "O"]
    return [c for c in text if var[c].nunique() > 0.5 * len(var)]
