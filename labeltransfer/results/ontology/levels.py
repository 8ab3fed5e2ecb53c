"""Coarser levels of a run's labels: sets of terms that they are rolled up to before they are compared."""

from collections.abc import Mapping

import pandas as pd

from labeltransfer.results.ontology.relations import UNMAPPED, verdicts
from labeltransfer.results.ontology.terms import BROAD_TERMS, Term, lineage, n_kinds, rolled_up, term_name

BREADTHS = {"Close families": 52, "Families": 208, "Lineages": 832}
"""Kinds that the terms of each offered level may have, of some 3,300: such as granulocyte, T cell and leukocyte."""


def level_sets(terms: Mapping[str, Term]) -> dict[str, list[str]]:
    """Levels that split the labels of a run, by name, the finest first.

    For each of ``BREADTHS``, ancestors that are no broader are taken greedily: each time the one that takes in most of
    the labels that are not taken in yet, the narrowest of several. One that takes in all labels is of no use, nor is a
    level like an earlier one.
    """
    taken = _taken_in(terms)
    offered = sorted(taken)
    found: dict[str, list[str]] = {}
    for name, most in BREADTHS.items():
        narrow, done, chosen = [a for a in offered if n_kinds(a) <= most], set[str](), list[str]()
        while narrow:
            best = min(narrow, key=lambda a: (-len(taken[a] - done), n_kinds(a), a))
            if len(taken[best] - done) < 2:
                break
            chosen.append(best)
            done |= taken[best]
        if chosen and sorted(chosen) not in map(sorted, found.values()):
            found[name] = chosen
    return found


def common_levels(terms: Mapping[str, Term], *, n_most: int = 12) -> dict[str, str]:
    """Ancestors to roll labels up to, id to name: those that at least two labels share, the most informative first.

    An ancestor is most informative where it takes in about half of the labels; of those that take in the same, the
    narrowest is kept.
    """
    taken, by_members = _taken_in(terms), dict[frozenset[str], str]()
    for ancestor in sorted(taken, key=lambda a: (n_kinds(a), a)):
        by_members.setdefault(frozenset(taken[ancestor]), ancestor)
    half = len({term.id for term in terms.values() if term.id}) / 2
    best = sorted(by_members.items(), key=lambda item: abs(len(item[0]) - half))[:n_most]
    return {ancestor: term_name(ancestor) for _, ancestor in best}


def _taken_in(terms: Mapping[str, Term]) -> dict[str, set[str]]:
    """Terms of labels by ancestor, itself included: of those ancestors that take in several and not all."""
    taken: dict[str, set[str]] = {}
    own = {term.id for term in terms.values() if term.id}
    for term in own:
        for ancestor in lineage(term) - set(BROAD_TERMS):
            taken.setdefault(ancestor, set()).add(term)
    return {ancestor: members for ancestor, members in taken.items() if 2 <= len(members) < len(own)}


def at_level(
    pairs: pd.DataFrame, terms: Mapping[str, Term], known: list[str], levels: set[str]
) -> tuple[pd.DataFrame, dict[str, Term], list[str]]:
    """Pairs of labels, their terms and the reference's labels, rolled up to some terms.

    Parameters
    ----------
    pairs
        Pairs as :func:`.relations.pair_verdicts` makes them.
    terms
        Terms by label.
    known
        Labels that the reference has.
    levels
        Ids of the terms; labels that are kinds of none stay as they are.

    Returns
    -------
    The same three of the coarser labels, each called by the name of its term, with their verdicts.
    """
    ids = {label: rolled_up(term, levels) for label, term in terms.items()}
    names = {label: term_name(term) if term in levels else label for label, term in ids.items()}
    rolled = {names[label]: Term(ids[label], terms[label].name, terms[label].source) for label in terms}
    coarse = pairs.assign(**{c: pairs[c].astype(str).map(names) for c in ("observed_label", "predicted_label")})
    coarse = coarse.groupby(["observed_label", "predicted_label"])[["n_cells"]].sum().reset_index()
    found = verdicts(rolled, coarse["observed_label"], coarse["predicted_label"])
    return coarse.assign(verdict=[v or UNMAPPED for v in found]), rolled, sorted({names.get(k, k) for k in known})
