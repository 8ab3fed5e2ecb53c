"""Coarser levels: sets of ancestor terms that labels are rolled up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from labeltransfer.results.label_terms import LabelTerm
from labeltransfer.results.ontology import NO_KINSHIP, cell_ontology

BREADTHS = (1 / 64, 1 / 16, 1 / 4)
"""How broad the groups of the offered levels may be, as shares of all terms: such as granulocyte, T cell, leukocyte."""


@dataclass(frozen=True)
class Level:
    """A level by its name and the ids of the terms that labels are rolled up to; labels below none stay as they are."""

    name: str
    terms: tuple[str, ...]

    def groups(self) -> list[str]:
        """Names of its terms."""
        return [cell_ontology().names[term] for term in self.terms]

    def group_of(self, term: str | None) -> str | None:
        """The narrowest term of the level that a term is a kind of; None if there is none."""
        ontology = cell_ontology()
        over = [own for own in self.terms if term and ontology.is_kind_of(term, own)]
        return min(over, key=lambda own: (ontology.n_below[own], own), default=None)


def candidates(terms: Mapping[str, LabelTerm]) -> list[str]:
    """Terms that at least two labels are kinds of but not all, which tell of kind; the broadest first."""
    gathered, n_terms = _gathered(terms), len({term.id for term in terms.values() if term.id})
    split = [a for a, own in gathered.items() if 2 <= len(own) < n_terms and a not in NO_KINSHIP]
    ontology = cell_ontology()
    return sorted(split, key=lambda a: (-ontology.n_below[a], ontology.names[a]))


def _gathered(terms: Mapping[str, LabelTerm]) -> dict[str, set[str]]:
    """Terms of labels by each term that they are a kind of, themselves included."""
    ontology, found = cell_ontology(), dict[str, set[str]]()
    for own in {term.id for term in terms.values() if term.id}:
        for over in (own, *ontology.ancestors[own]):
            found.setdefault(over, set()).add(own)
    return found


def levels(terms: Mapping[str, LabelTerm]) -> list[Level]:
    """Levels that split the labels of a run, the finest first; none where no two labels are of one kind.

    For each of ``BREADTHS``, ancestors that are no broader are taken greedily: each time the one that gathers most of
    the labels that are not gathered yet, the narrowest of several. A level like an earlier one is left out.
    """
    ontology, gathered, offered = cell_ontology(), _gathered(terms), candidates(terms)
    found: list[Level] = []
    for breadth, name in zip(BREADTHS, ("Close families", "Families", "Lineages"), strict=True):
        narrow = [a for a in offered if ontology.is_narrow(a, breadth)]
        done, chosen = set[str](), list[str]()
        while narrow:
            best = min(narrow, key=lambda a: (-len(gathered[a] - done), ontology.n_below[a], a))
            if len(gathered[best] - done) < 2:
                break
            chosen.append(best)
            done |= gathered[best]
        if chosen and all(set(chosen) != set(level.terms) for level in found):
            found.append(Level(name, tuple(chosen)))
    return found


def roll_up(
    pairs: pd.DataFrame, terms: Mapping[str, LabelTerm], known: Iterable[str], level: Level
) -> tuple[pd.DataFrame, dict[str, LabelTerm], list[str]]:
    """Pairs of labels at a coarser level.

    Parameters
    ----------
    pairs
        Cells by observed (rows) and predicted label (columns).
    terms
        Term of each label.
    known
        Labels of the reference.
    level
        What to roll up to.

    Returns
    -------
    ``pairs`` over the level's groups and the labels that lie in none, the terms of these, and those of them that the
    reference has.
    """
    ontology = cell_ontology()
    name = {label: ontology.names[group] if (group := level.group_of(t.id)) else label for label, t in terms.items()}
    rolled = {
        group: LabelTerm(group, term, group, "name") for term, group in zip(level.terms, level.groups(), strict=True)
    }
    rolled |= {label: term for label, term in terms.items() if name[label] == label and label not in rolled}
    coarse = pairs.rename(index=name, columns=name)
    coarse = coarse.groupby(level=0).sum().T.groupby(level=0).sum().T
    return coarse, rolled, sorted({name[label] for label in known})
