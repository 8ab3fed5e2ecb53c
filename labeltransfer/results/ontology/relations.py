"""How observed and predicted labels relate in the Cell Ontology, and scores that take the relation into account.

Two annotations seldom use the same words for a cell. A prediction that is finer than a coarse observed label is right
as far as is known; what the observed cells develop into or from is a confusion of stages; a near relative of it is a
confusion of relatives; any other term is an error.
"""

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from labeltransfer.results.ontology.development import develops_into
from labeltransfer.results.ontology.terms import (
    BROAD_TERMS,
    MOST_KINDS,
    NO_TERM,
    Term,
    ancestors,
    kinds_of,
    n_kinds,
)
from labeltransfer.results.scores.evaluate import pair_counts, per_label, reference_labels

Verdict = Literal["exact", "more specific", "more general", "develops into", "sibling", "unrelated"]
VERDICTS: tuple[Verdict, ...] = ("exact", "more specific", "more general", "develops into", "sibling", "unrelated")
"""How a predicted label relates to the observed one: more specific means that the prediction is a kind of it, develops
into that one of the two becomes the other."""

UNMAPPED = "not in the ontology"
"""In place of a verdict where a label is no known term."""

RIGHT = ("exact", "more specific")
"""Verdicts of a prediction that the observed label does not contradict."""

NEAR = 4
"""Steps from one term up to a common ancestor and down to the other, at most, that make siblings of them: T cell and
natural killer cell are both lymphocytes. This ancestor may be neither broader than ``MOST_KINDS`` nor one of
``BROAD_TERMS``."""


def verdict(observed: Term, predicted: Term) -> Verdict | None:
    """How a predicted label relates to the observed one; None where one of them is no known term."""
    if not (observed.id and predicted.id):
        return None
    if observed.id == predicted.id:
        return "exact"
    if observed.id in ancestors(predicted.id):
        return "more specific"
    if predicted.id in ancestors(observed.id):
        return "more general"
    if develops_into(observed.id, predicted.id) or develops_into(predicted.id, observed.id):
        return "develops into"
    others = ancestors(predicted.id)
    near = [a for a, steps in ancestors(observed.id).items() if a in others and steps + others[a] <= NEAR]
    kin = (a for a in near if a not in BROAD_TERMS and n_kinds(a) <= MOST_KINDS)
    return "sibling" if any(kin) else "unrelated"


def pair_verdict(terms: Mapping[str, Term], observed: str, predicted: str) -> Verdict | None:
    """Verdict of one pair of labels; equal labels are exact even where they are no known term."""
    return "exact" if observed == predicted else verdict(terms.get(observed, NO_TERM), terms.get(predicted, NO_TERM))


def verdicts(terms: Mapping[str, Term], observed: pd.Series, predicted: pd.Series) -> list[Verdict | None]:
    """Verdict of each pair of labels, see :func:`pair_verdict`.

    Parameters
    ----------
    terms
        Terms by label, see :func:`.terms.find_terms`.
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


def pair_verdicts(cells: pd.DataFrame, terms: Mapping[str, Term]) -> pd.DataFrame:
    """Pairs of observed and predicted label among the query's cells.

    Returns
    -------
    One row for each pair that cells have: ``observed_label``, ``predicted_label``, ``n_cells``, ``verdict`` (one of
    ``VERDICTS``, else ``UNMAPPED``).
    """
    counts = pair_counts(cells)
    wide = (
        counts.rename_axis(index="observed_label").reset_index()
        if len(counts)
        else pd.DataFrame({"observed_label": []})
    )
    pairs = wide.melt("observed_label", var_name="predicted_label", value_name="n_cells")
    pairs = pairs[pairs["n_cells"] > 0].reset_index(drop=True)
    found = verdicts(terms, pairs["observed_label"], pairs["predicted_label"])
    return pairs.assign(verdict=[verdict or UNMAPPED for verdict in found])


def ontology_scores(pairs: pd.DataFrame, terms: Mapping[str, Term], known: list[str]) -> dict[str, Any]:
    """Scores of the query, strict and with finer labels as right.

    Parameters
    ----------
    pairs
        See :func:`pair_verdicts`.
    terms
        Terms by label.
    known
        Labels that the reference has.

    Returns
    -------
    ``verdicts`` (cells by verdict, all query cells with an observed label); ``n_scored`` (cells whose observed label a
    label of the reference equals or is a kind of), ``n_right`` of them by verdict ``RIGHT``, ``accuracy``; ``strict``
    with the same three, of the cells whose observed label, or its term, the reference has, right if exact;
    ``n_differ`` (cells whose label differs in words, both labels known terms) and ``n_finer`` of them whose prediction
    is a kind of the observed label.
    """
    by_verdict = pairs.groupby("verdict")["n_cells"].sum()
    among = {label: terms[label] for label in known if label in terms}
    reachable = {
        label: label in known or bool(kinds_of(terms.get(label, NO_TERM), among))
        for label in pairs["observed_label"].unique()
    }
    scored = pairs[pairs["observed_label"].map(reachable).astype(bool)]
    n_scored = int(scored["n_cells"].sum())
    n_right = int(scored.loc[scored["verdict"].isin(RIGHT), "n_cells"].sum())
    own = {term.id for term in among.values() if term.id}
    has = pairs["observed_label"].map(lambda label: label in known or terms.get(label, NO_TERM).id in own).astype(bool)
    n_strict = int(pairs.loc[has, "n_cells"].sum())
    n_same = int(pairs.loc[has & (pairs["verdict"] == "exact"), "n_cells"].sum())
    differ = pairs[(pairs["observed_label"] != pairs["predicted_label"]) & (pairs["verdict"] != UNMAPPED)]
    return {
        "verdicts": {v: int(by_verdict.get(v, 0)) for v in (*VERDICTS, UNMAPPED)},
        "n_scored": n_scored,
        "n_right": n_right,
        "accuracy": n_right / n_scored if n_scored else None,
        "strict": {
            "n_scored": n_strict,
            "n_right": n_same,
            "accuracy": n_same / n_strict if n_strict else None,
        },
        "n_differ": int(differ["n_cells"].sum()),
        "n_finer": int(differ.loc[differ["verdict"] == "more specific", "n_cells"].sum()),
    }


def label_table(cells: pd.DataFrame, terms: Mapping[str, Term]) -> pd.DataFrame:
    """Scores by label, with the labels that the reference lacks and what they are to it: ``per_label.csv``.

    Returns
    -------
    The rows of :func:`.evaluate.per_label` and one for each observed label that the reference lacks, with ``term_id``,
    ``in_reference``, ``n_observed`` (query cells) and ``relation_to_reference``: ``same`` where the reference has the
    label or its term, ``coarser`` where labels of the reference are kinds of it, ``finer`` where it is a kind of one,
    ``missing`` where neither is known.
    """
    scores, known = per_label(cells), reference_labels(cells)
    observed = pair_counts(cells).sum(axis=1)
    missing = [label for label in observed.index if label not in set(scores["label"])]
    table = pd.concat([scores, pd.DataFrame({"label": missing})], ignore_index=True)
    among = {label: terms[label] for label in known if label in terms}
    own = [terms.get(label, NO_TERM) for label in table["label"]]
    table["term_id"] = [term.id for term in own]
    table["in_reference"] = table["label"].isin(known)
    table["n_observed"] = observed.reindex(table["label"], fill_value=0).to_numpy(dtype=int)
    table["relation_to_reference"] = [
        _relation(label, term, among) if label not in known else "same"
        for label, term in zip(table["label"], own, strict=True)
    ]
    counts = ["support", "n_predicted"]
    return table.assign(**{name: table[name].fillna(0).astype(int) for name in counts})


def _relation(label: str, term: Term, among: Mapping[str, Term]) -> str:
    kinds = kinds_of(term, among)
    if any(among[other].id == term.id for other in kinds):
        return "same"
    if kinds:
        return "coarser"
    return "finer" if any(label in kinds_of(other, {label: term}) for other in among.values()) else "missing"
