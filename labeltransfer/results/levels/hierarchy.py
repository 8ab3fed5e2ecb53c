"""The tree of a run's labels: nested levels, from the reference's own coarser columns or from the Cell Ontology.

The ontology is no tree: a term is a kind of several others. Here each label, and each group of labels, gets one
parent, so that what is said of a cell at one level cannot contradict what is said at another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from labeltransfer.errors import SettingsError
from labeltransfer.results.ontology.levels import BREADTHS
from labeltransfer.results.ontology.terms import BROAD_TERMS, NO_TERM, Term, lineage, n_kinds, term_name

FINEST = "label"
"""Name of the finest level, which holds the labels themselves."""

ROOT = "any"
"""Name of the root, of which all labels are."""

ARROW = " > "
"""Between the nodes of a path."""


@dataclass(frozen=True)
class Node:
    """A node of the tree.

    ``parent`` is its place among the nodes, -1 of the root; ``level`` that of its level among ``Hierarchy.levels``, -1
    of the root; ``members`` are the places of its labels.
    """

    name: str
    parent: int
    level: int
    members: tuple[int, ...]


@dataclass(frozen=True)
class Hierarchy:
    """Levels of labels, the coarsest first, each of which splits the groups of the one before.

    ``groups`` says for each level which group each label is of, int array of shape (n_levels, n_labels); ``names``
    holds the groups' names by level. At the last level, ``FINEST``, each label is a group of its own.
    """

    labels: tuple[str, ...]
    levels: tuple[str, ...]
    groups: np.ndarray
    names: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if self.groups.shape != (len(self.levels), len(self.labels)) or len(self.names) != len(self.levels):
            raise ValueError(f"{len(self.labels)} labels at {len(self.levels)} levels, groups of {self.groups.shape}")
        if not self.levels or self.levels[-1] != FINEST or list(self.groups[-1]) != list(range(len(self.labels))):
            raise ValueError("the last level does not hold each label by itself")
        for level, (groups, names) in enumerate(zip(self.groups, self.names, strict=True)):
            if set(groups.tolist()) != set(range(len(names))):
                raise ValueError(f"{len(names)} names for the groups {sorted(set(groups.tolist()))} of level {level}")
        for coarse, fine in zip(self.groups[:-1], self.groups[1:], strict=True):
            if len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) != len(set(fine.tolist())):
                raise ValueError("a group has two parents")

    @property
    def parents(self) -> tuple[np.ndarray, ...]:
        """By level: for each group its parent's place at the level before, all 0 at the first; shape (n_groups,)."""
        above = [np.zeros(len(self.labels), dtype=np.intp), *self.groups[:-1]]
        firsts = [np.unique(groups, return_index=True)[1] for groups in self.groups]
        return tuple(coarse[first] for coarse, first in zip(above, firsts, strict=True))

    def splits(self) -> tuple[np.ndarray, ...]:
        """By level: for each group whether it has fewer labels than its parent; bool, shape (n_groups,)."""
        sizes = [np.bincount(groups) for groups in self.groups]
        before = [np.array([len(self.labels)]), *sizes[:-1]]
        return tuple(own < up[parent] for own, up, parent in zip(sizes, before, self.parents, strict=True))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The tree: the root, and each group that has other labels than its parent, under its finest name."""
        found = [Node(ROOT, -1, -1, tuple(range(len(self.labels))))]
        place = np.zeros(len(self.labels), dtype=int)  # the node that each label is under so far
        for level, (groups, names) in enumerate(zip(self.groups, self.names, strict=True)):
            for group, name in enumerate(names):
                members = np.flatnonzero(groups == group)
                up = int(place[members[0]])
                if len(members) == len(found[up].members):
                    if up:  # the same labels as at the level before
                        found[up] = Node(name, found[up].parent, level, found[up].members)
                    continue
                found.append(Node(name, up, level, tuple(members.tolist())))
                place[members] = len(found) - 1
        return tuple(found)

    def path(self, node: int) -> str:
        """Names of the nodes from the root, which is left out, to one: ``T cell > T_CD4``."""
        nodes, steps = self.nodes, list[str]()
        while node > 0:
            steps.append(nodes[node].name)
            node = nodes[node].parent
        return ARROW.join(reversed(steps))


def flat(labels: Sequence[str]) -> Hierarchy:
    """Labels without a coarser level."""
    return _built(labels, [])


def from_parents(labels: Sequence[str], levels: Mapping[str, Mapping[str, str]]) -> Hierarchy:
    """The tree of labels with the parents that the reference gives them.

    Parameters
    ----------
    labels
        Labels that can be predicted, in the order of the probabilities.
    levels
        For each coarser level the parent of each label, see :func:`.columns.parents_of`; in any order. A label without
        a parent is a group of its own there.

    Raises
    ------
    SettingsError
        A group of one level lies in two groups of a coarser one.
    """
    names = {key: [_parent(parents, label, key) for label in labels] for key, parents in levels.items()}
    order = sorted(names, key=lambda key: len(set(names[key])))
    for coarse, fine in pairwise(order):
        above: dict[tuple[str, bool], tuple[str, bool]] = {}
        for up, own in zip(names[coarse], names[fine], strict=True):
            if above.setdefault(own, up) != up:
                raise SettingsError(
                    f"'{own[0]}' of the level '{fine}' has two parents at the level '{coarse}', '{above[own][0]}' and "
                    f"'{up[0]}': leave one of the two levels out."
                )
    return _built(labels, [(key, names[key]) for key in order])


def _parent(parents: Mapping[str, str], label: str, key: str) -> tuple[str, bool]:
    """Name of a label's group at a level, and whether the level has it; its own name where it has not."""
    return (parents[label], True) if label in parents else (label, False)


def from_terms(labels: Sequence[str], terms: Mapping[str, Term]) -> Hierarchy:
    """The tree of labels in the Cell Ontology, at most three levels above them.

    For each of ``BREADTHS``, from narrow to broad, labels, or groups of them, that share an ancestor are put together:
    each time under the ancestor that takes in most of those that are left, of several the broadest, which claims least
    of a cell (T cell, not mature alpha-beta T cell). A level above puts groups of the one below together, never parts
    of them. Labels without a term stay by themselves.

    Parameters
    ----------
    labels
        Labels that can be predicted, in the order of the probabilities.
    terms
        Terms by label, see :func:`.terms.find_terms`.
    """
    known = [terms.get(label, NO_TERM).id for label in labels]
    items = [(term, label, [place]) for place, (term, label) in enumerate(zip(known, labels, strict=True))]
    levels: list[tuple[str, list[tuple[str, bool]]]] = []
    for level, most in BREADTHS.items():
        items = _put_together(items, most)
        n_before = len(set(levels[0][1])) if levels else len(labels)
        if not 1 < len(items) < n_before:
            continue
        names = {place: (name, len(places) > 1) for _, name, places in items for place in places}
        levels.insert(0, (level, [names[place] for place in range(len(labels))]))
    return _built(labels, levels)


Item = tuple[str, str, list[int]]
"""Id of a term, its name or the label, and the places of its labels."""


def _put_together(items: list[Item], most: int) -> list[Item]:
    """Put items together under ancestors of at most ``most`` kinds."""
    shared: dict[str, set[int]] = {}
    for place, (term, *_) in enumerate(items):
        for ancestor in (lineage(term) if term else set()) - set(BROAD_TERMS):
            if n_kinds(ancestor) <= most:
                shared.setdefault(ancestor, set()).add(place)
    left, done = set(range(len(items))), list[Item]()
    while shared:
        best = min(shared, key=lambda a: (-len(shared[a] & left), -n_kinds(a), a))
        taken = shared[best] & left
        if len(taken) < 2:
            break
        done.append((best, term_name(best), sorted(p for place in taken for p in items[place][2])))
        left -= taken
    return done + [items[place] for place in sorted(left)]


def _built(labels: Sequence[str], levels: Sequence[tuple[str, Sequence[tuple[str, bool]]]]) -> Hierarchy:
    """A hierarchy from the group of each label at each level, the coarsest first."""
    groups, names = [], []
    for _, own in levels:
        there = list(dict.fromkeys(own))
        place = {group: i for i, group in enumerate(there)}
        groups.append([place[group] for group in own])
        # A label that stays by itself may have a group's name.
        names.append(tuple(n if real or (n, True) not in place else f"{n} (label)" for n, real in there))
    groups.append(list(range(len(labels))))
    return Hierarchy(
        labels=tuple(labels),
        levels=(*(level for level, _ in levels), FINEST),
        groups=np.array(groups, dtype=np.intp).reshape(len(levels) + 1, len(labels)),
        names=(*names, tuple(labels)),
    )
