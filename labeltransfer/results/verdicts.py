"""Observed against predicted labels by the Cell Ontology: verdicts, scores that know of kinds, coarser levels.

All is made from the number of cells of each pair of labels, see :func:`.evaluate.pair_counts`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from labeltransfer.params import Side
from labeltransfer.results.evaluate import pair_counts, reference_labels
from labeltransfer.results.label_terms import LabelTerm, terms_of
from labeltransfer.results.levels import levels, roll_up
from labeltransfer.results.ontology import VERDICTS, Verdict, cell_ontology

Relation = Literal["exact", "coarser", "finer", "missing"]
Terms = Mapping[str, LabelTerm]

COLUMN = "ontology_verdict"


def verdict_of(observed: str, predicted: str, terms: Terms) -> Verdict | None:
    """Verdict of a pair of labels; equal texts are exact whatever they mean, else None where one has no term."""
    if observed == predicted:
        return "exact"
    first, second = terms[observed].id, terms[predicted].id
    return cell_ontology().verdict(first, second) if first and second else None


def pair_verdicts(pairs: pd.DataFrame, terms: Terms) -> pd.DataFrame:
    """Verdict of each pair of an observed (rows) and a predicted label (columns), None where there is none."""
    told = [[verdict_of(str(o), str(p), terms) for p in pairs.columns] for o in pairs.index]
    return pd.DataFrame(told, index=pairs.index, columns=pairs.columns, dtype=object)


def verdict_column(cells: pd.DataFrame, terms: Terms) -> pd.Series:
    """Verdict of each cell of both sides.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows.
    terms
        Term of each label, see :func:`.label_terms.terms_of`.

    Returns
    -------
    Categories of ``VERDICTS``, shape (n_cells,), under the index of ``cells``; missing where a cell has no observed
    label, or where one of two different labels has no term. Each pair of labels is judged once, not each cell.
    """
    observed, predicted = (cells[name].astype("category").cat for name in ("observed_label", "predicted_label"))
    places: dict[str | None, int] = {verdict: place for place, verdict in enumerate(VERDICTS)}
    # One row and column more than there are labels: a missing label has the code -1 and finds the last.
    table = np.full((len(observed.categories) + 1, len(predicted.categories) + 1), -1, dtype=np.int8)
    # Categories that no cell has, such as those of the other side, may have no term.
    for row, seen in enumerate(map(str, observed.categories)):
        for column, called in enumerate(map(str, predicted.categories)):
            if seen in terms and called in terms:
                table[row, column] = places.get(verdict_of(seen, called, terms), -1)
    codes: Any = table[observed.codes.to_numpy(), predicted.codes.to_numpy()]
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(VERDICTS)), index=cells.index, name=COLUMN)


@dataclass(frozen=True)
class Score:
    """How many of the scored cells are right; ratios are None where nothing is scored.

    ``macro_f1`` is the mean of F1 over the ``n_labels`` observed labels that scored cells have.
    """

    n_scored: int
    n_correct: int
    n_labels: int
    macro_f1: float | None

    @property
    def accuracy(self) -> float | None:
        return self.n_correct / self.n_scored if self.n_scored else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"accuracy": self.accuracy}


@dataclass(frozen=True)
class Scores:
    """Strict and ontology-aware scores of the cells of one side, and how many of them have which verdict.

    Strictly right is the same label, or another name of the same term; scored are cells whose observed label, or its
    term, the reference has. Ontology-aware, a prediction that is a kind of the observed label is right as well, and
    cells are scored too whose label has a kind in the reference: observed T cell, where the reference has CD4 T cells.
    ``verdicts`` counts all cells with an observed label, ``unmapped`` those of them without a verdict.
    """

    n_cells: int
    strict: Score
    aware: Score
    verdicts: dict[Verdict, int]
    unmapped: int

    @property
    def n_differ(self) -> int:
        """Cells whose predicted term is another than the observed one."""
        return sum(self.verdicts.values()) - self.verdicts["exact"]

    @property
    def share_more_specific(self) -> float | None:
        """Of the cells whose term differs, the share whose predicted one is more specific: a subset of the observed."""
        return self.verdicts["more specific"] / self.n_differ if self.n_differ else None

    def as_dict(self) -> dict[str, Any]:
        own = {"n_cells": self.n_cells, "strict": self.strict.as_dict(), "aware": self.aware.as_dict()}
        differ = {"n_differ": self.n_differ, "share_more_specific": self.share_more_specific}
        return own | {"verdicts": dict(self.verdicts), "unmapped": self.unmapped} | differ


def score(pairs: pd.DataFrame, terms: Terms, known: Iterable[str]) -> Scores:
    """Score pairs of labels strictly and by kinds.

    Parameters
    ----------
    pairs
        Cells by observed (rows) and predicted label (columns), see :func:`.evaluate.pair_counts`.
    terms
        Term of each label, those of the reference included.
    known
        Labels of the reference.
    """
    known = list(known)
    counts, told = pairs.to_numpy(dtype=int), pair_verdicts(pairs, terms).to_numpy(dtype=object)
    relations = [relation(str(label), terms, known) for label in pairs.index]
    same = told == "exact"
    strict = np.array([found == "exact" for found in relations], dtype=bool)
    coarser = np.array([found == "coarser" for found in relations], dtype=bool)
    return Scores(
        n_cells=int(counts.sum()),
        strict=_score(pairs, same, strict),
        aware=_score(pairs, same | (told == "more specific"), strict | coarser),
        verdicts={verdict: int(counts[told == verdict].sum()) for verdict in VERDICTS},
        unmapped=int(counts[pd.isna(told)].sum()),
    )


def _score(pairs: pd.DataFrame, right: np.ndarray, scored: np.ndarray) -> Score:
    """Score of the rows that are scored; boolean arrays of shapes (n_observed, n_predicted) and (n_observed,).

    For F1 a right prediction counts as that of the observed label, every other one as that of its own.
    """
    counts = pairs.to_numpy(dtype=int)
    support = counts.sum(axis=1) * scored
    hit = (counts * right).sum(axis=1) * scored
    missed = pd.Series((counts * ~right * scored[:, None]).sum(axis=0), index=pairs.columns)
    wrongly = missed.reindex(pairs.index, fill_value=0).to_numpy()
    own = support > 0
    f1 = 2 * hit[own] / (support + hit + wrongly)[own]
    return Score(int(support.sum()), int(hit.sum()), int(own.sum()), float(f1.mean()) if own.any() else None)


def relation(label: str, terms: Terms, known: Iterable[str]) -> Relation | None:
    """How an observed label stands to the reference's.

    Returns
    -------
    ``exact``: the reference has it, or its term. ``coarser``: the reference has a kind of it alone. ``finer``: the
    reference has only what it is a kind of. ``missing``: none of these. None where it has no term, nor the reference
    the label, so that it cannot be told.
    """
    known = set(known)
    own = terms[label].id
    if label in known:
        return "exact"
    if own is None:
        return None
    ontology, present = cell_ontology(), {term for other in known if (term := terms[other].id)}
    if own in present:
        return "exact"
    if any(own in ontology.ancestors[term] for term in present):
        return "coarser"
    return "finer" if ontology.ancestors[own] & present else "missing"


def label_table(terms: Terms, known: Iterable[str], shown: Iterable[str] | None = None) -> pd.DataFrame:
    """What is known of each label: one row a label, in alphabetical order.

    Returns
    -------
    ``label``, ``term_id``, ``term_name`` (missing without a term), ``mapped_by`` (see :data:`.label_terms.How`),
    ``in_reference`` (whether the reference has the label), ``relation_to_reference`` (see :func:`relation`).
    """
    known = set(known)
    rows = [
        {
            "label": label,
            "term_id": terms[label].id,
            "term_name": terms[label].name,
            "mapped_by": terms[label].how,
            "in_reference": label in known,
            "relation_to_reference": relation(label, terms, known),
        }
        for label in sorted(terms if shown is None else shown)
    ]
    columns = ["label", "term_id", "term_name", "mapped_by", "in_reference", "relation_to_reference"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class RunVerdicts:
    """All that the ontology says of a run.

    ``terms`` of all labels; ``column``, a verdict a cell, see :func:`verdict_column`; ``labels``, a row a label, see
    :func:`label_table`; ``summary`` ready to be written as JSON: ``version`` of the ontology, ``unmapped`` labels,
    ``query``, the :class:`Scores` of its cells, and ``levels``, the same at coarser ones with ``name`` and ``groups``.
    """

    terms: dict[str, LabelTerm]
    column: pd.Series
    labels: pd.DataFrame
    summary: dict[str, Any]


def judge_run(
    cells: pd.DataFrame, *, side: Side = "query", by_hand: Mapping[str, str | None] | None = None
) -> RunVerdicts:
    """Map the labels of a table of cells and judge its predictions, scores taken over one side.

    Ids are read from its columns ``obs.cell_ontology_id`` and the like; ``by_hand`` gives the ids of some labels.

    Raises
    ------
    InputError
        The ontology cannot be read, or an id that was set by hand is none of its.
    """
    terms, known, pairs = terms_of(cells, by_hand=by_hand), reference_labels(cells), pair_counts(cells, side=side)
    found = []
    for level in levels(terms):
        rolled = roll_up(pairs, terms, known, level)
        found.append({"name": level.name, "groups": level.groups(), **score(*rolled).as_dict()})
    summary = {
        "version": cell_ontology().version,
        "unmapped": [label for label, term in terms.items() if term.id is None],
        side: score(pairs, terms, known).as_dict(),
        "levels": found,
    }
    return RunVerdicts(terms, verdict_column(cells, terms), label_table(terms, known), summary)
