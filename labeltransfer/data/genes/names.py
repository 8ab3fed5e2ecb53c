"""Gene names of the two files: what they are and whether they match."""

from itertools import product

import pandas as pd

from labeltransfer.data.genes.selection import MIN_SHARED
from labeltransfer.data.intake.columns import shorten
from labeltransfer.data.intake.finding import Finding
from labeltransfer.data.intake.summary import Summary
from labeltransfer.errors import SettingsError

_ENSEMBL = r"^(ENS[A-Z]*G\d{11})(\.\d+)?$"


def gene_index(summary: Summary, gene_names: str | None) -> pd.Index:
    """Names by which the genes of a file are matched, (n_genes,).

    Version numbers of Ensembl ids are dropped (ENSG00000141510.18 becomes ENSG00000141510), since they differ between
    annotation releases. Genes without a name in the column keep the one of the index.

    Parameters
    ----------
    summary
        The file.
    gene_names
        var column; None for the index.

    Raises
    ------
    SettingsError
        There is no such column.
    """
    names = pd.Series(summary.var.index.astype(str).to_numpy(), dtype=object)
    if gene_names:
        if gene_names not in summary.var:
            raise SettingsError(
                f"{summary.path.name}: there is no var column '{gene_names}' with gene names. "
                f"There are: {shorten(summary.var.columns)}."
            )
        column = pd.Series(summary.var[gene_names].to_numpy(), dtype=object)
        present = column.notna() & (column.astype(str).str.strip() != "")
        names = column.where(present, names).astype(str).str.strip()
    return pd.Index(names.str.replace(_ENSEMBL, r"\1", regex=True), dtype=object)


def are_ensembl(names: pd.Index) -> bool:
    """Whether most names are Ensembl gene ids."""
    return len(names) > 0 and float(names.str.match(_ENSEMBL).mean()) > 0.5


def name_columns(summary: Summary) -> list[str]:
    """Columns of var that could name the genes: text, with a name of its own for most genes."""
    var = summary.var
    text = [c for c in var.columns if isinstance(var[c].dtype, pd.CategoricalDtype) or var[c].dtype.kind == "O"]
    return [c for c in text if var[c].nunique() > 0.5 * len(var)]


def compare_genes(
    reference: Summary, query: Summary, *, reference_names: str | None = None, query_names: str | None = None
) -> list[Finding]:
    """Tell how many genes the two files share, and by which names they would share more.

    Parameters
    ----------
    reference, query
        The two files.
    reference_names, query_names
        var columns to match genes by; None for the index.
    """
    ours, theirs = gene_index(reference, reference_names), gene_index(query, query_names)
    n_shared = _n_shared(ours, theirs)
    smaller = min(ours.nunique(), theirs.nunique())
    detail = (
        f"{n_shared:,} of {ours.nunique():,} genes of the reference and of {theirs.nunique():,} of the query "
        "have the same name."
    )
    better = _better_names(reference, query, n_shared)
    if better:
        way_out = better
    elif are_ensembl(ours) != are_ensembl(theirs):
        kinds = ("Ensembl ids", "symbols") if are_ensembl(ours) else ("symbols", "Ensembl ids")
        detail += f" The reference has {kinds[0]}, the query {kinds[1]}."
        way_out = "Add a var column with the other kind of names to one of the files, and choose it as its gene names."
    elif _n_shared(ours.str.upper(), theirs.str.upper()) > max(2 * n_shared, MIN_SHARED):
        detail += " Apart from upper and lower case many more are the same, as between mouse and human."
        way_out = "Use two files of one species, or add a var column with the other's gene names (orthologues)."
    else:
        way_out = "Check that both files are of one species and hold all genes, not only a selection."
    if n_shared < MIN_SHARED:
        return [Finding("error", f"Only {n_shared} genes are shared", detail, way_out)]
    if better or n_shared < 0.5 * smaller:
        return [Finding("warning", f"{n_shared:,} genes are shared", detail, way_out)]
    return [Finding("note", f"{n_shared:,} genes are shared", detail, "Nothing to do: the other genes are left out.")]


def _n_shared(ours: pd.Index, theirs: pd.Index) -> int:
    return len(set(ours) & set(theirs))


def _better_names(reference: Summary, query: Summary, n_shared: int) -> str:
    """Say which columns would match at least a fifth more genes; empty where none do."""
    best, way_out = max(1.2 * n_shared, MIN_SHARED), ""
    choices = [[None, *name_columns(side)] for side in (reference, query)]
    for ours, theirs in product(*choices):
        n_more = _n_shared(gene_index(reference, ours), gene_index(query, theirs))
        if n_more > best:
            best = n_more
            names = [f"var column '{name}'" if name else "the index" for name in (ours, theirs)]
            way_out = (
                f"Match genes by {names[0]} of the reference and {names[1]} of the query: {n_more:,} are then shared."
            )
    return way_out
