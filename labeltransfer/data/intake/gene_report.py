"""The genes of two inputs: how many they share, by which names they would share more, and what to do about it."""

from collections.abc import Mapping
from itertools import product

import pandas as pd

from labeltransfer.data.genes.names import are_ensembl, name_columns, names_to_match
from labeltransfer.data.genes.selection import FEW_SHARED, MIN_SHARED, too_few, what_few_genes_mean
from labeltransfer.data.intake.finding import NOTHING_TO_DO, Finding
from labeltransfer.data.intake.summary import Summary

WARNED, REFUSED = 0.8, 0.5
"""Shares of the model's genes that a query has: below the first it is warned of, as scvi-tools does; below the second
it is refused, for most of what the encoder then reads is padding."""


def gene_index(summary: Summary, gene_names: str | None) -> pd.Index:
    """Names by which the genes of a file are matched, (n_genes,); see :func:`.names.names_to_match`.

    Raises
    ------
    SettingsError
        There is no var column ``gene_names``.
    """
    return names_to_match(summary.var, gene_names, file_name=summary.path.name)


def other_gene_names(summary: Summary) -> dict[str, pd.Index]:
    """Other gene names that a file has, by var column."""
    return {column: gene_index(summary, column) for column in name_columns(summary.var)}


def compare_genes(
    reference: Summary, query: Summary, *, reference_names: str | None = None, query_names: str | None = None
) -> list[Finding]:
    """Report how many genes the two files share, and by which names they would share more.

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
    elif MIN_SHARED <= n_shared < FEW_SHARED and n_shared >= 0.5 * smaller:
        detail += f" {what_few_genes_mean(n_shared)}"
        way_out = "Go on if it is a gene panel; else check that both files hold all genes, not only a selection."
    else:
        way_out = "Check that both files are of one species and hold all genes, not only a selection."
    if too_few(ours.unique(), theirs.unique()):
        return [Finding("error", f"Only {n_shared} genes are shared", detail, way_out)]
    if better or n_shared < max(0.5 * smaller, FEW_SHARED):
        return [Finding("warning", f"{n_shared:,} genes are shared", detail, way_out)]
    return [Finding("note", f"{n_shared:,} genes are shared", detail, "Nothing to do: the other genes are left out.")]


def gene_finding(chosen: pd.Index, names: pd.Index, *, others: Mapping[str, pd.Index] | None = None) -> Finding:
    """Report how many of a published reference's genes a query has; an error where they are too few to map it.

    Parameters
    ----------
    chosen
        Genes that the reference's models see, shape (n_chosen,).
    names
        Gene names of the query.
    others
        Other gene names that its file has, by var column.
    """
    n_found = int(chosen.isin(names).sum())
    share = n_found / len(chosen)
    detail = f"The query has {n_found:,} of the {len(chosen):,} genes that the published reference's models see."
    better = {column: int(chosen.isin(own).sum()) for column, own in (others or {}).items()}
    best = max(better, key=lambda column: better[column], default="")
    if best and better[best] > 1.2 * n_found:
        way_out = f"Match genes by the query's var column '{best}': {better[best]:,} are then shared."
    elif are_ensembl(chosen) != are_ensembl(names):
        kinds = ("Ensembl ids", "symbols") if are_ensembl(chosen) else ("symbols", "Ensembl ids")
        detail += f" The reference has {kinds[0]}, the query {kinds[1]}."
        way_out = f"Add a var column with {kinds[0]} to the query, and choose it as its gene names."
    elif int(chosen.str.upper().isin(names.str.upper()).sum()) > 2 * n_found:
        detail += " Apart from upper and lower case many more are the same, as between mouse and human."
        way_out = "Use a reference of the query's species, or add a var column with the other's gene names."
    else:
        way_out = "Check that the query is of the reference's species and holds all genes, not only a selection."
    if share < REFUSED:
        limit = f" At least {REFUSED:.0%} are needed."
        return Finding("error", f"Only {share:.0%} of the reference's genes are there", detail + limit, way_out)
    if share < WARNED:
        detail += f" The others are zeros in the query. Below {WARNED:.0%} labels may suffer."
        return Finding("warning", f"Only {share:.0%} of the reference's genes are there", detail, way_out)
    if n_found < len(chosen):
        detail += f" The other {len(chosen) - n_found:,} are zeros in the query."
    return Finding("note", f"{share:.0%} of the reference's genes are there", detail, NOTHING_TO_DO)


def _n_shared(ours: pd.Index, theirs: pd.Index) -> int:
    return len(set(ours) & set(theirs))


def _better_names(reference: Summary, query: Summary, n_shared: int) -> str:
    """Say which columns would match at least a fifth more genes; empty where none do."""
    best, way_out = max(1.2 * n_shared, MIN_SHARED), ""
    choices = [[None, *name_columns(side.var)] for side in (reference, query)]
    for ours, theirs in product(*choices):
        n_more = _n_shared(gene_index(reference, ours), gene_index(query, theirs))
        if n_more > best:
            best = n_more
            names = [f"var column '{name}'" if name else "the index" for name in (ours, theirs)]
            way_out = (
                f"Match genes by {names[0]} of the reference and {names[1]} of the query: {n_more:,} are then shared."
            )
    return way_out
