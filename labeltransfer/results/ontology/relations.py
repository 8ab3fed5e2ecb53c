"""Scores and tables that know that a fine label can be right where a coarse one was observed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labeltransfer.results.ontology.terms import VERDICTS, Term, kinds_of, verdicts
from labeltransfer.results.scores.evaluate import pair_counts, per_label, reference_labels

UNMAPPED = "not in the ontology"
"""Stands for a verdict where a label is no known term."""

RIGHT = ("exact", "more specific")
"""Verdicts of a prediction that the observed label does not contradict."""


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
    """Scores of the query, strict and with an eye for finer labels.

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
    nobody = Term("", "", "none")
    reachable = {
        label: label in known or bool(kinds_of(terms.get(label, nobody), among))
        for label in pairs["observed_label"].unique()
    }
    scored = pairs[pairs["observed_label"].map(reachable).astype(bool)]
    n_scored = int(scored["n_cells"].sum())
    n_right = int(scored.loc[scored["verdict"].isin(RIGHT), "n_cells"].sum())
    own = {term.id for term in among.values() if term.id}
    has = pairs["observed_label"].map(lambda label: label in known or terms.get(label, nobody).id in own).astype(bool)
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
    among, nobody = {label: terms[label] for label in known if label in terms}, Term("", "", "none")
    own = [terms.get(label, nobody) for label in table["label"]]
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
