"""What develops from what, against the Cell Ontology's terms of today."""

from itertools import permutations

import pytest

from labeltransfer.results.ontology.development import PARTING, _table, develops_into, direct_precursors, precursors
from labeltransfer.results.ontology.relations import verdict
from labeltransfer.results.ontology.terms import find_term, is_term, term_name


def test_the_table_holds_terms_of_today_by_their_names() -> None:
    rows = [line.split("\t") for line in _table().splitlines() if line.startswith("CL:")]
    assert len(rows) == len({(row[0], row[2]) for row in rows}) > 300
    assert all(is_term(product) and is_term(precursor) for product, _, precursor, _ in rows)
    assert [(term_name(a), term_name(b)) for a, _, b, _ in rows] == [(a, b) for _, a, _, b in rows]
    assert {term: term_name(term) for term in PARTING} == PARTING


def test_nothing_develops_from_itself() -> None:
    assert [term_name(product) for product in direct_precursors() if product in precursors(product)] == []


@pytest.mark.parametrize(
    ("precursor", "product"),
    [
        ("monocyte", "macrophage"),
        ("classical monocyte", "macrophage"),
        ("reticulocyte", "erythrocyte"),
        ("hematopoietic stem cell", "erythrocyte"),
        ("hematopoietic stem cell", "immature B cell"),
        ("B cell", "plasma cell"),
        ("megakaryocyte", "platelet"),
        ("naive thymus-derived CD4-positive, alpha-beta T cell", "T-helper 1 cell"),
        ("common lymphoid progenitor", "CD8-positive, alpha-beta T cell"),
        ("oligodendrocyte precursor cell", "oligodendrocyte"),
        ("mesenchymal stem cell", "adipocyte"),
        ("progenitor cell of endocrine pancreas", "type B pancreatic cell"),
    ],
)
def test_a_precursor_and_its_product_are_one_verdict_in_either_order(precursor: str, product: str) -> None:
    terms = find_term(precursor), find_term(product)
    assert develops_into(terms[0].id, terms[1].id) and not develops_into(terms[1].id, terms[0].id)
    assert verdict(*terms) == verdict(*terms[::-1]) == "develops into"


@pytest.mark.parametrize(
    "names",
    [
        # Siblings, and progenitors of other fates.
        ("T cell", "natural killer cell"),
        ("CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"),
        ("granulocyte monocyte progenitor cell", "T cell"),
        ("megakaryocyte-erythroid progenitor cell", "monocyte"),
        ("common lymphoid progenitor", "macrophage"),
        ("mesenchymal stem cell", "T cell"),
        ("oligodendrocyte precursor cell", "microglial cell"),
        ("pancreatic A cell", "type B pancreatic cell"),
        ("fibroblast", "adipocyte"),
    ],
)
def test_cells_of_other_fates_do_not_develop_into_one_another(names: tuple[str, str]) -> None:
    for one, other in permutations(find_term(name) for name in names):
        assert one.id and not develops_into(one.id, other.id)
        assert verdict(one, other) in ("sibling", "unrelated")
