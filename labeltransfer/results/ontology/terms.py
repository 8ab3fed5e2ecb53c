"""How observed and predicted labels stand to each other in the Cell Ontology.

Two annotations seldom use the same words for a cell. A prediction that is finer than a coarse observed label is right
as far as anybody can tell; one beside it is a confusion of relatives; one elsewhere is an error. Only ``is_a`` is
followed, not ``develops_from``: a progenitor is no kind of what becomes of it.

Source: Cell Ontology (Diehl et al., Journal of Biomedical Semantics 2016), as ``cellxgene-ontology-guide`` ships it, so
that nothing is downloaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pandas as pd
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from labeltransfer.results.ontology.broad_terms import NO_KINSHIP

Verdict = Literal["exact", "more specific", "more general", "sibling", "unrelated"]
VERDICTS: tuple[Verdict, ...] = ("exact", "more specific", "more general", "sibling", "unrelated")
"""How a predicted label stands to the observed one; more specific means that the prediction is a kind of it."""

Source = Literal["id", "name", "synonym", "by hand", "none"]

NEAR = 4
"""Steps from one term up to a common ancestor and down to the other, at most, that make siblings of them: B cell and
natural killer cell are both lymphocytes."""
MOST_KINDS = 400
"""Kinds that this ancestor may have: of 3,300 terms nearly all are kinds of a eukaryotic cell. A lymphocyte has 347.
Nor may it be one of ``NO_KINSHIP``, which gather by function or place."""
SAME_ID = 0.9
"""Share of a label's cells that must have one id for the id to be the label's."""

_ID = re.compile(r"CL[:_]\d{7}")


@dataclass(frozen=True)
class Term:
    """What a label means: ``id`` and ``name`` in the Cell Ontology, empty where nothing fits, and how it was found."""

    id: str
    name: str
    source: Source


@cache
def _parser() -> OntologyParser:
    return OntologyParser()


@cache
def _ancestors(term: str) -> Mapping[str, int]:
    """Terms that a term is a kind of, with the fewest steps to each; the term itself is not among them."""
    return _parser().get_term_ancestors_with_distances(term)


def lineage(term: str) -> set[str]:
    """A term and all that it is a kind of."""
    return {term, *_ancestors(term)}


def term_name(term: str) -> str:
    """Name of a term, by its id."""
    return _parser().get_term_label(term) or term


@cache
def n_kinds(term: str) -> int:
    """How many terms are kinds of a term."""
    return len(_parser().get_term_descendants(term))


@cache
def _present() -> Mapping[str, str]:
    """Names of the terms by id, without the obsolete ones, which share names and synonyms with present ones."""
    parser = _parser()
    return {t: name for name, t in parser.get_term_label_to_id_map("CL").items() if not parser.is_term_deprecated(t)}


@cache
def _ids_by_words() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Ids of the terms by their plain words, and by those of their synonyms where these fit one term alone."""
    parser = _parser()
    present = _present()
    names = {_words(name): term for term, name in present.items()}
    synonyms: dict[str, set[str]] = {}
    for term in present:
        for synonym in parser.get_term_synonyms(term):
            synonyms.setdefault(_words(synonym), set()).add(term)
    return names, {words: next(iter(terms)) for words, terms in synonyms.items() if len(terms) == 1}


def _words(label: str) -> str:
    """A label without case, punctuation and plural: ``CD4-positive, alpha-beta T cells`` and so on."""
    plain = re.sub(r"[\s,;_/()-]+", " ", label.casefold()).strip()
    return re.sub(r"\b(cell|lymphocyte|thymocyte|monocyte|macrophage|granulocyte|neutrophil)s\b", r"\1", plain)


def present_id(term: str) -> str:
    """Id of a term as it stands today: an obsolete one gives way to its successor; empty where there is none.

    Files write ``CL:0000084`` or ``CL_0000084``.
    """
    if not _ID.fullmatch(term) or not _parser().is_valid_term_id(asked := term.replace("_", ":"), "CL"):
        return ""
    if not _parser().is_term_deprecated(asked):
        return asked
    successor = _parser().get_term_replacement(asked) or ""
    return successor if _ID.fullmatch(successor) else ""


def is_term(term: str) -> bool:
    """Whether an id is one of the Cell Ontology's, and not obsolete."""
    return bool(term) and present_id(term) == term


@cache
def spelt_terms() -> Mapping[str, str]:
    """How each present term is called, by id, its synonyms with it: one types what one knows."""
    names = _present()
    also = {term: ", ".join(_parser().get_term_synonyms(term)) for term in names}
    found = {term: f"{name} ({term})" + (f", also {also[term]}" if also[term] else "") for term, name in names.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].lower()))


def find_term(label: str, given: str = "") -> Term:
    """Look a label up: by the id that came with it, else by its name, else by a synonym.

    Names are compared without case, punctuation and plural, and once more with ``cell`` behind them (``mast``); against
    synonyms only where the label is an abbreviation (``NK``), for a lone word fits too much (``alpha``).
    """
    if term := present_id(given):
        return Term(term, _parser().get_term_label(term) or "", "id")
    names, synonyms = _ids_by_words()
    words = _words(label)
    longer = f"{words} cell" if words else ""
    ways: tuple[tuple[Mapping[str, str], str, Source], ...] = (
        (names, words, "name"),
        (synonyms, words, "synonym"),
        (names, longer, "name"),
        (synonyms, longer if label.isupper() else "", "synonym"),
    )
    for known, asked, source in ways:
        if asked and asked in known:
            return Term(known[asked], _parser().get_term_label(known[asked]) or "", source)
    return Term("", "", "none")


def find_terms(cells: pd.DataFrame, *, by_hand: Mapping[str, str] | None = None) -> dict[str, Term]:
    """Terms of all labels that cells were observed with or were given.

    Parameters
    ----------
    cells
        The table of cells. Ids are looked for in its ``obs.`` columns that hold some, such as ``cell_ontology_id``.
    by_hand
        Label to id, which wins over what is found; an empty id says that none fits.
    """
    ids = label_ids(cells)
    labels = pd.concat([pd.Series(cells[f"{n}_label"].unique()) for n in ("observed", "predicted")]).dropna().unique()
    found = {label: find_term(label, ids.get(label, "")) for label in sorted(map(str, labels))}
    for label, term in (by_hand or {}).items():
        name = _parser().get_term_label(term) or "" if term else ""
        found[label] = Term(term, name, "by hand")
    return found


def label_ids(cells: pd.DataFrame) -> dict[str, str]:
    """Id of each observed label, from the columns of the input files that hold ids of the Cell Ontology."""
    found: dict[str, str] = {}
    for name in (c for c in cells.columns if c.startswith("obs.")):
        column = cells[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column.head(1000).dropna()
        if not len(values) or not all(_ID.fullmatch(str(value)) for value in values):
            continue
        known = cells[["observed_label"]].assign(id=column).dropna()
        for label, ids in known.groupby("observed_label", observed=True)["id"]:
            counts = ids.value_counts(normalize=True)
            if counts.iloc[0] >= SAME_ID:
                found.setdefault(str(label), str(counts.index[0]))
    return found


def verdict(observed: Term, predicted: Term) -> Verdict | None:
    """How a predicted label stands to the observed one; None where one of them is no known term."""
    if not (observed.id and predicted.id):
        return None
    if observed.id == predicted.id:
        return "exact"
    if observed.id in _ancestors(predicted.id):
        return "more specific"
    if predicted.id in _ancestors(observed.id):
        return "more general"
    others = _ancestors(predicted.id)
    near = [a for a, steps in _ancestors(observed.id).items() if a in others and steps + others[a] <= NEAR]
    kin = (a for a in near if a not in NO_KINSHIP and n_kinds(a) <= MOST_KINDS)
    return "sibling" if any(kin) else "unrelated"


def pair_verdict(terms: Mapping[str, Term], observed: str, predicted: str) -> Verdict | None:
    """Verdict of one pair of labels; equal labels are exact even where they are no known term."""
    nobody = Term("", "", "none")
    return "exact" if observed == predicted else verdict(terms.get(observed, nobody), terms.get(predicted, nobody))


def verdicts(terms: Mapping[str, Term], observed: pd.Series, predicted: pd.Series) -> list[Verdict | None]:
    """Verdict of each pair of labels, see :func:`pair_verdict`.

    Parameters
    ----------
    terms
        Terms by label, see :func:`find_terms`.
    observed, predicted
        Labels, each of shape (n_pairs,).
    """
    pairs = zip(observed.astype(str), predicted.astype(str), strict=True)
    return [pair_verdict(terms, *pair) for pair in pairs]


def verdict_column(cells: pd.DataFrame, terms: Mapping[str, Term]) -> pd.Categorical:
    """Verdict of each cell, shape (n_cells,); none where it has no observed label or a label is no known term.

    It is made for each pair of labels once, so that a million cells take no longer than a hundred.
    """
    observed, predicted = (cells[f"{name}_label"].astype("category").cat for name in ("observed", "predicted"))
    pairs = pd.MultiIndex.from_product([observed.categories, predicted.categories]).to_frame(index=False)
    pairs.columns = ["observed", "predicted"]
    if pairs.empty:
        return pd.Categorical([None] * len(cells), categories=list(VERDICTS))
    found = pd.Categorical(verdicts(terms, pairs["observed"], pairs["predicted"]), categories=list(VERDICTS))
    table = found.codes.reshape(len(observed.categories), len(predicted.categories))
    codes = table[observed.codes.to_numpy(), predicted.codes.to_numpy()]
    codes[(observed.codes < 0).to_numpy() | (predicted.codes < 0).to_numpy()] = -1
    return pd.Categorical.from_codes(codes.tolist(), pd.Index(VERDICTS))


def kinds_of(term: Term, among: Mapping[str, Term]) -> list[str]:
    """Labels that mean the same as a term or a kind of it."""
    return [
        label
        for label, other in among.items()
        if term.id and other.id and (other.id == term.id or term.id in _ancestors(other.id))
    ]


def rolled_up(term: Term, levels: set[str]) -> str:
    """The nearest of some ancestors that a term is a kind of; its own id where it is none of theirs."""
    if term.id in levels or not term.id:
        return term.id
    steps = {level: n for level, n in _ancestors(term.id).items() if level in levels}
    return min(steps, key=lambda level: (steps[level], level)) if steps else term.id
