"""What develops from what: a monocyte is no kind of macrophage, and yet a confusion of both is one of neighbours.

Source: ``develops_from.tsv`` next to this module, whose head says where it comes from.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from labeltransfer.results.ontology.terms import BROAD_TERMS, MOST_KINDS, ancestors, lineage, n_kinds

PARTING = {
    "CL:0002031": "hematopoietic lineage restricted progenitor cell",
    "CL:0002032": "hematopoietic oligopotent progenitor cell",
}
"""Id and name of terms that group progenitors of different fates."""


@cache
def direct_precursors() -> Mapping[str, frozenset[str]]:
    """Ids of the terms that a term develops from in one step, by its id, as the table has them."""
    rows = [line.split("\t") for line in _table().splitlines() if line.startswith("CL:")]
    found: dict[str, set[str]] = {}
    for product, _, precursor, _ in rows:
        found.setdefault(product, set()).add(precursor)
    return {product: frozenset(precursors) for product, precursors in found.items()}


def _table() -> str:
    return files(__package__).joinpath("develops_from.tsv").read_text()


def nearest_precursors(term: str) -> frozenset[str]:
    """Ids of the terms that a term develops from in one step; what a term is a kind of, it develops as."""
    return frozenset(origin for kind in lineage(term) for origin in direct_precursors().get(kind, ()))


@cache
def precursors(term: str) -> frozenset[str]:
    """Ids of the terms that a term develops from, in one step or several."""
    found: set[str] = set()
    new = {term}
    while new:
        new = {origin for one in new for origin in nearest_precursors(one)} - found
        found |= new
    return frozenset(found)


def develops_into(precursor: str, product: str) -> bool:
    """Whether the cells of one term, or some of them, become cells of another.

    Three ways lead there: the product develops from the precursor (reticulocyte, erythrocyte); from some of its kinds
    (B cells, of which mature B cells become plasmablasts); or, in one step, from cells that the precursor is a kind of
    (a classical monocyte, as monocytes become macrophages), but for those ``PARTING``.
    """
    if precursor in BROAD_TERMS or n_kinds(precursor) > MOST_KINDS:
        return False
    origins = precursors(product)
    if precursor in origins or any(precursor in ancestors(origin) for origin in origins):
        return True
    kin = ancestors(precursor).keys() & nearest_precursors(product)
    return bool(kin - set(PARTING))
