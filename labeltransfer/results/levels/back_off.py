"""Each cell's finest label that is sure enough: down the tree of labels as far as the probability allows.

The way down starts at the root and takes, at each level, the most probable group within the one that it is in. So what
a cell is called at one level always is a part of what it is called at the level before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.params import UNKNOWN
from labeltransfer.results.levels.hierarchy import ARROW, Hierarchy

NO_LEVEL = "none"
"""Level of a cell that is not sure enough at the coarsest one."""


@dataclass(frozen=True)
class Descent:
    """The way of each cell down the tree, to the finest level.

    ``groups`` are the places of its groups by level, int array of shape (n_levels, n_cells); ``confidence`` their
    summed probabilities, float32 array of that shape, which never grows from one level to the next.
    """

    hierarchy: Hierarchy
    groups: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        n_levels = len(self.hierarchy.levels)
        if self.groups.shape != self.confidence.shape or self.groups.ndim != 2 or len(self.groups) != n_levels:
            raise ValueError(f"{n_levels} levels, groups of {self.groups.shape}, confidence of {self.confidence.shape}")

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.groups.shape[1]

    def cells(self, chosen: np.ndarray) -> "Descent":
        """The way of some cells alone; ``chosen`` are their places or a mask of shape (n_cells,)."""
        return Descent(self.hierarchy, self.groups[:, chosen], self.confidence[:, chosen])


def descend(probabilities: np.ndarray | pd.DataFrame, hierarchy: Hierarchy) -> Descent:
    """Find each cell's way down the tree.

    Parameters
    ----------
    probabilities
        Probabilities of the labels, shape (n_cells, n_labels), in the order of ``hierarchy.labels``.
    hierarchy
        The tree of the labels.

    Raises
    ------
    ValueError
        The columns are not the hierarchy's labels.
    """
    if isinstance(probabilities, pd.DataFrame):
        if tuple(map(str, probabilities.columns)) != hierarchy.labels:
            raise ValueError("the columns of the probabilities are not the labels of the hierarchy")
        probabilities = probabilities.to_numpy()
    values = np.ascontiguousarray(probabilities, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != len(hierarchy.labels):
        raise ValueError(f"{len(hierarchy.labels)} labels, but probabilities of shape {values.shape}")
    sums = _sums(values, hierarchy)
    groups = np.empty((len(sums), len(values)), dtype=np.int32)
    confidence = np.empty((len(sums), len(values)), dtype=np.float32)
    rows = np.arange(len(values))
    before = np.zeros(len(values), dtype=np.int32)
    for level, (summed, parents) in enumerate(zip(sums, hierarchy.parents, strict=True)):
        within = np.where(parents[None, :] == before[:, None], summed, np.float32(-1))
        groups[level] = before = within.argmax(axis=1).astype(np.int32)
        confidence[level] = np.minimum(within[rows, before], 1)
    return Descent(hierarchy, groups, confidence)


def _sums(values: np.ndarray, hierarchy: Hierarchy) -> list[np.ndarray]:
    """Summed probabilities by level, each from the level below, so that no sum is smaller than one of its parts."""
    sums = [values]
    for finer in range(len(hierarchy.levels) - 1, 0, -1):
        parents = hierarchy.parents[finer]
        own = np.zeros((len(parents), len(hierarchy.names[finer - 1])), dtype=np.float32)
        own[np.arange(len(parents)), parents] = 1
        sums.insert(0, sums[0] @ own)
    return sums


def depths(descent: Descent, threshold: float | Sequence[float]) -> np.ndarray:
    """How far down each cell comes: the number of levels at which it is sure enough, int array of shape (n_cells,).

    A group that has all labels of its parent is no new step: who reaches the parent reaches it.

    Parameters
    ----------
    descent
        The cells' ways down.
    threshold
        Least probability of a group, one for all levels or one a level, the coarsest first.
    """
    least = np.broadcast_to(np.asarray(threshold, dtype=np.float32), (len(descent.groups),))
    sure = descent.confidence >= least[:, None]
    for level, splits in enumerate(descent.hierarchy.splits()):
        if level:
            sure[level] |= ~splits[descent.groups[level]]
    return np.logical_and.accumulate(sure, axis=0).sum(axis=0)


def is_right(descent: Descent, observed: np.ndarray) -> np.ndarray:
    """Whether each cell's group at each level holds its observed label; bool array of shape (n_levels, n_cells).

    Parameters
    ----------
    descent
        The cells' ways down.
    observed
        Places of the observed labels among ``hierarchy.labels``, shape (n_cells,); -1, none of them, is never right.
    """
    known = observed >= 0
    return (descent.hierarchy.groups[:, np.where(known, observed, 0)] == descent.groups) & known


def answers(descent: Descent, threshold: float | Sequence[float]) -> pd.DataFrame:
    """Label, level, path and confidence of each cell, and its group and confidence at each level.

    Returns
    -------
    One row a cell, text as categories: ``label`` (``Unknown`` where no level is sure enough), ``label_level`` (else
    ``NO_LEVEL``), ``label_path`` (``T cell > T_CD4``; empty where there is none) and ``label_confidence`` (1 for
    Unknown, which is never wrong); then for each level ``level.NAME`` and ``level.NAME.confidence``, whether the cell
    is sure of it or not.
    """
    tree, depth = descent.hierarchy, depths(descent, threshold)
    texts = _texts(tree)
    code = np.zeros(descent.n_cells, dtype=np.int64)
    confidence = np.ones(descent.n_cells, dtype=np.float32)
    start = 1
    for level, names in enumerate(tree.names):
        here = depth == level + 1
        code[here] = start + descent.groups[level][here]
        confidence[here] = descent.confidence[level][here]
        start += len(names)
    columns: dict[str, object] = {}
    for name, values in zip(("label", "label_level", "label_path"), zip(*texts, strict=True), strict=True):
        columns[name] = _categories(values, code).remove_unused_categories()
    columns["label_confidence"] = confidence
    for level, name in enumerate(tree.levels):
        columns[f"level.{name}"] = _categories(tree.names[level], descent.groups[level])
        columns[f"level.{name}.confidence"] = descent.confidence[level]
    return pd.DataFrame(columns)


def _categories(texts: Sequence[str], places: np.ndarray) -> pd.Categorical:
    """Categories from their places among texts, some of which may be the same."""
    codes, there = pd.factorize(np.array(texts, dtype=object))
    own: Any = codes[places]  # an array, not the list that the stubs ask for: a million cells at once
    return pd.Categorical.from_codes(own, pd.Index(there))


def _texts(tree: Hierarchy) -> list[tuple[str, str, str]]:
    """Label, level and path of Unknown and of each group, level by level, as a cell that ends there has them."""
    texts = [(UNKNOWN, NO_LEVEL, "")]
    paths: list[tuple[str, ...]] = [()]
    for name, names, parents, splits in zip(tree.levels, tree.names, tree.parents, tree.splits(), strict=True):
        above = [paths[parent] if split else paths[parent][:-1] for parent, split in zip(parents, splits, strict=True)]
        paths = [(*before, group) for before, group in zip(above, names, strict=True)]
        texts += [(path[-1], name, ARROW.join(path)) for path in paths]
    return texts


def contradictions(table: pd.DataFrame, tree: Hierarchy) -> int:
    """Number of cells of :func:`answers` that contradict themselves: always 0, which tests count.

    A cell does where a group at one level is no part of its group at the level before, where its label is none of
    these groups, or where it is surer of a finer one.
    """
    by_level = zip(tree.levels, tree.names, strict=True)
    codes = [pd.Index(names).get_indexer(pd.Index(table[f"level.{n}"].astype(str))) for n, names in by_level]
    wrong = np.zeros(len(table), dtype=bool)
    for parents, coarse, fine in zip(tree.parents[1:], codes[:-1], codes[1:], strict=True):
        wrong |= parents[fine] != coarse
    shares = [table[f"level.{name}.confidence"].to_numpy() for name in tree.levels]
    for coarse, fine in pairwise(shares):
        wrong |= fine > coarse
    labels = table["label"].astype(str).to_numpy()
    for name in tree.levels:
        here = (table["label_level"] == name).to_numpy()
        wrong |= here & (labels != table[f"level.{name}"].astype(str).to_numpy())
    ends = zip(labels, table["label_path"].astype(str), strict=True)
    wrong |= np.array([label != UNKNOWN and not path.endswith(label) for label, path in ends], dtype=bool)
    return int(wrong.sum())
