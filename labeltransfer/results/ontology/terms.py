"""Labels as terms of the Cell Ontology: which term a label means, and what each term is a kind of.

Only ``is_a`` is followed here: a progenitor is no kind of what it becomes, see :mod:`.development`.

Source: Cell Ontology (Diehl et al., Journal of Biomedical Semantics 2016), as ``cellxgene-ontology-guide`` ships it, so
that nothing is downloaded.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pandas as pd
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from labeltransfer.results.ontology.spellings import Tissue, is_unclear, singular, spelled_id, tissues_of

Source = Literal["id", "name", "abbreviation", "synonym", "by hand", "none"]

SAME_ID = 0.9
"""Share of a label's cells that must have one id for the id to be the label's."""

_ID = re.compile(r"CL[:_]\d{7}")

BROAD_TERMS = {
    "CL:0000000": "cell",
    "CL:0000255": "eukaryotic cell",
    "CL:0000034": "stem cell",
    "CL:0000723": "somatic stem cell",
    "CL:0000048": "multi fate stem cell",
    "CL:0011026": "progenitor cell",
    "CL:0011115": "precursor cell",
    "CL:0000151": "secretory cell",
    "CL:1100001": "secretory epithelial cell",
    "CL:0000183": "contractile cell",
    "CL:0000234": "phagocyte",
    "CL:0000518": "phagocyte (sensu Vertebrata)",
    "CL:0000145": "professional antigen presenting cell",
    "CL:0000325": "stuff accumulating cell",
    "CL:0000630": "supporting cell",
    "CL:0000219": "motile cell",
    "CL:0002242": "nucleate cell",
    "CL:0000226": "single nucleate cell",
    "CL:0000081": "blood cell",
    "CL:1000497": "kidney cell",
    "CL:0002681": "kidney cortical cell",
    "CL:1000504": "kidney medulla cell",
    "CL:0002494": "cardiocyte",
    "CL:0000095": "neuron associated cell",
}
"""Id and name of terms that group cells by what they do or where they are, not by kind.

A blood stem cell and a hair follicle's are both stem cells, an endothelial cell and a tubule's both kidney cells: such
a shared ancestor makes no siblings, and labels compared at its level say nothing.
"""

MOST_KINDS = 400
"""Kinds that a term may have, of 3,300, for a relation through it to say something: a lymphocyte has 347, and nearly
all terms are kinds of a eukaryotic cell."""


@dataclass(frozen=True)
class Term:
    """What a label means: ``id`` and ``name`` in the Cell Ontology, empty where nothing fits, and how it was found."""

    id: str
    name: str
    source: Source


NO_TERM = Term("", "", "none")
"""The term of a label that the ontology lacks."""


@cache
def _parser() -> OntologyParser:
    return OntologyParser()


@cache
def ancestors(term: str) -> Mapping[str, int]:
    """Terms that a term is a kind of, with the fewest steps to each; the term itself is not among them."""
    return _parser().get_term_ancestors_with_distances(term)


def lineage(term: str) -> set[str]:
    """A term and all that it is a kind of."""
    return {term, *ancestors(term)}


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
    """Id of a term today: an obsolete one is replaced by its successor; empty where there is none.

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
def search_texts() -> Mapping[str, str]:
    """Text of each present term to search in, by id: its name, its id and its synonyms; in alphabetical order."""
    names = _present()
    also = {term: ", ".join(_parser().get_term_synonyms(term)) for term in names}
    found = {term: f"{name} ({term})" + (f", also {also[term]}" if also[term] else "") for term, name in names.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].lower()))


def find_term(label: str, given: str = "", *, tissues: Iterable[Tissue] = ()) -> Term:
    """Look a label up: by the id that came with it, else by its name, as an abbreviation, by a synonym.

    Names are compared without case, punctuation and plural, and once more with ``cell`` after them (``mast``); with
    synonyms only where the label is an abbreviation (``NK``), as a single word matches too much (``alpha``). Known
    abbreviations go before synonyms, some of which are out of use.

    Parameters
    ----------
    label
        As people write it.
    given
        Id that came with it; empty where none did.
    tissues
        Those of the other labels, in which some abbreviations have a meaning of their own.
    """
    if term := present_id(given):
        return Term(term, _parser().get_term_label(term) or "", "id")
    names, synonyms = _ids_by_words()
    words = _words(label)
    single, longer = " ".join(map(singular, words.split())), f"{words} cell" if words else ""
    if words in names:
        return Term(names[words], term_name(names[words]), "name")
    if is_unclear(label):
        return NO_TERM
    if term := spelled_id(label, tissues):
        return Term(term, term_name(term), "abbreviation")
    ways: tuple[tuple[Mapping[str, str], str, Source], ...] = (
        (synonyms, words, "synonym"),
        (names, single, "name"),
        (synonyms, single if " " in single else "", "synonym"),
        (names, longer, "name"),
        (synonyms, longer if label.isupper() else "", "synonym"),
    )
    for known, asked, source in ways:
        if asked and asked in known:
            return Term(known[asked], term_name(known[asked]), source)
    return NO_TERM


def find_all(labels: Iterable[str], ids: Mapping[str, str] | None = None) -> dict[str, Term]:
    """Terms of the labels of one run, which are read together: ``alpha`` among ``beta`` and ``delta`` is of an islet.

    Parameters
    ----------
    labels
        Labels, each once or more often.
    ids
        Ids that came with some of them.
    """
    names, given = sorted(set(labels)), ids or {}
    found = {label: find_term(label, given.get(label, "")) for label in names}
    tissues = tissues_of(names, [lineage(term.id) for term in found.values() if term.id])
    if not tissues:
        return found
    return {label: find_term(label, given.get(label, ""), tissues=tissues) for label in names}


def find_terms(cells: pd.DataFrame, *, by_hand: Mapping[str, str] | None = None) -> dict[str, Term]:
    """Terms of all observed and predicted labels.

    Parameters
    ----------
    cells
        The table of cells. Ids are looked for in its ``obs.`` columns that hold ids, such as ``cell_ontology_id``.
    by_hand
        Label to id, which overrides what is found; an empty id says that no term fits.
    """
    ids = label_ids(cells)
    labels = pd.concat([pd.Series(cells[f"{n}_label"].unique()) for n in ("observed", "predicted")]).dropna().unique()
    found = find_all(map(str, labels), ids)
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


def kinds_of(term: Term, among: Mapping[str, Term]) -> list[str]:
    """Labels that mean the same as a term or a kind of it."""
    return [
        label
        for label, other in among.items()
        if term.id and other.id and (other.id == term.id or term.id in ancestors(other.id))
    ]


def rolled_up(term: Term, levels: set[str]) -> str:
    """The nearest of some ancestors that a term is a kind of; its own id where it is none of theirs."""
    if term.id in levels or not term.id:
        return term.id
    steps = {level: n for level, n in ancestors(term.id).items() if level in levels}
    return min(steps, key=lambda level: (steps[level], level)) if steps else term.id
