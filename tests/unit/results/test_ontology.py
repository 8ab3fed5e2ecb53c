"""Verdicts of the Cell Ontology, on its own terms."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeltransfer.errors import InputError, RunError
from labeltransfer.results.figures.confusion_matrix import VERDICT_MARKS, confusion_chart
from labeltransfer.results.ontology import levels, relations
from labeltransfer.results.ontology.relations import verdict, verdict_column
from labeltransfer.results.ontology.terms import BROAD_TERMS, Term, find_term, find_terms, is_term, n_kinds, term_name
from labeltransfer.results.scores.evaluate import confusion
from labeltransfer.runs.records.term_overrides import BY_HAND, override_terms, term_overrides, undo_override
from tests.support import ROOT

PAIRS = [
    ("T cell", "CL:0000084", "T cell", "CL:0000084", "exact"),
    ("T cell", "CL:0000084", "CD4-positive, alpha-beta T cell", "CL:0000624", "more specific"),
    ("hematopoietic precursor cell", "CL:0008001", "hematopoietic stem cell", "CL:0000037", "more specific"),
    ("CD4-positive, alpha-beta T cell", "CL:0000624", "T cell", "CL:0000084", "more general"),
    ("basophil", "CL:0000767", "granulocyte", "CL:0000094", "more general"),
    ("B cell", "CL:0000236", "natural killer cell", "CL:0000623", "unrelated"),
    ("T cell", "CL:0000084", "natural killer cell", "CL:0000623", "sibling"),
    ("monocyte", "CL:0000576", "macrophage", "CL:0000235", "develops into"),
    ("naive B cell", "CL:0000788", "immature B cell", "CL:0000816", "develops into"),
    ("T cell", "CL:0000084", "macrophage", "CL:0000235", "unrelated"),
    ("erythroblast", "CL:0000765", "neuron", "CL:0000540", "unrelated"),
    # Both are stem cells, the next two cells of the heart: what cells do makes no kin, nor where they lie.
    ("hematopoietic stem cell", "CL:0000037", "epithelial stem cell", "CL:0000036", "unrelated"),
    ("cardiac muscle cell", "CL:0000746", "cardiac endothelial cell", "CL:0010008", "unrelated"),
    ("late pro-B cell", "CL:0002048", "precursor B cell", "CL:0000817", "more general"),
    ("granulocyte", "CL:0000094", "basophil", "CL:0000767", "more specific"),
    ("type B pancreatic cell", "CL:0000169", "pancreatic A cell", "CL:0000171", "sibling"),
]


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize(("observed", "observed_id", "predicted", "predicted_id", "expected"), PAIRS)
def test_verdicts_by_id_and_by_name(
    observed: str, observed_id: str, predicted: str, predicted_id: str, expected: str, by_id: bool
) -> None:
    pair = [
        find_term(name, term if by_id else "") for name, term in ((observed, observed_id), (predicted, predicted_id))
    ]
    assert [term.id for term in pair] == [observed_id, predicted_id]
    assert {term.source for term in pair} <= ({"id"} if by_id else {"name", "synonym"})
    assert verdict(*pair) == expected


@pytest.mark.parametrize(
    ("label", "term"),
    [
        ("T cells", "CL:0000084"),
        ("B-cell", "CL:0000236"),
        ("natural_killer_cell", "CL:0000623"),
        ("NK", "CL:0000623"),
        ("mast", "CL:0000097"),
        ("Pericytes", "CL:0000669"),
        ("CD4-POSITIVE alpha-beta T lymphocytes", "CL:0000624"),
    ],
)
def test_names_are_found_whatever_their_spelling(label: str, term: str) -> None:
    assert find_term(label).id == term


@pytest.mark.parametrize("label", ["alpha", "cluster 7", "", "beta"])
def test_a_label_that_fits_no_term_or_too_many_is_left_alone(label: str) -> None:
    assert find_term(label) == Term("", "", "none")


@pytest.mark.parametrize(
    ("label", "term"),
    [("Müller cell", "CL:0000636"), ("alveolus of lung epithelial cell", "CL:0000322"), ("obsolete native cell", "")],
)
def test_obsolete_terms_are_not_found_nor_hide_present_ones(label: str, term: str) -> None:
    assert find_term(label).id == term


@pytest.mark.parametrize(
    ("given", "term"), [("CL:0000044", "CL:0000051"), ("CL_0000084", "CL:0000084"), ("CL:0000002", ""), ("CL:1", "")]
)
def test_ids_lead_to_present_terms(given: str, term: str) -> None:
    assert find_term("cluster 7", given).id == term
    assert is_term(given) == (given == term)


def test_what_makes_no_kin_is_in_the_ontology_by_that_name() -> None:
    assert {term: find_term("", term).name for term in BROAD_TERMS} == BROAD_TERMS


def test_what_a_cell_develops_from_is_not_what_it_is() -> None:
    assert verdict(find_term("immature B cell"), find_term("naive B cell")) == "develops into"
    assert "develops into" not in relations.RIGHT


def test_the_ontology_needs_no_network() -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from labeltransfer.results.ontology.terms import find_term\n"
        "print(find_term('T cells').id)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "CL:0000084"


@pytest.mark.parametrize("n_columns", [2, 60])
def test_tiles_say_their_verdict_with_a_mark_too(n_columns: int) -> None:
    others = [f"cluster {i}" for i in range(n_columns - 2)]
    predicted = ["CD4-positive, alpha-beta T cell", "macrophage", *others]
    cells = table(["T cell", "T cell", *others], predicted)
    rows = confusion(cells)
    verdicts = relations.verdicts(find_terms(cells), rows["observed_label"], rows["predicted_label"])
    judged = rows.assign(verdict=[verdict or relations.UNMAPPED for verdict in verdicts])
    spec = confusion_chart(judged).to_dict()
    tiles = pd.DataFrame(next(iter(spec["datasets"].values()))).set_index(["observed_label", "predicted_label"])
    number = " 50" if n_columns == 2 else ""
    finer = tiles.loc[("T cell", "CD4-positive, alpha-beta T cell")]
    assert (finer["written"], finer["mark"]) == (f"↓{number}", "↓ more specific")
    assert tiles.loc[("T cell", "macrophage"), "written"] == f"×{number}"
    assert (tiles.loc[tiles["n_cells"] == 0, "written"] == "").all()
    assert len(set(VERDICT_MARKS.values())) == len(VERDICT_MARKS)
    assert any(layer["mark"]["type"] == "text" for layer in spec["layer"])


def test_an_id_that_is_none_does_not_hide_the_name() -> None:
    assert find_term("T cell", "CL:9999999").source == "name"


def table(observed: list[str | None], predicted: list[str], **columns: list[str | None]) -> pd.DataFrame:
    """A query's cells, after one reference cell of each predicted label."""
    labels = sorted(set(predicted))
    frame = pd.DataFrame(
        {
            "side": ["reference"] * len(labels) + ["query"] * len(observed),
            "observed_label": pd.Categorical([*labels, *observed]),
            "predicted_label": pd.Categorical([*labels, *predicted]),
        }
    )
    for name, values in columns.items():
        frame[f"obs.{name}"] = [*([None] * len(labels)), *values]
    return frame


def test_ids_of_the_file_win_over_names_where_they_agree_within_a_label() -> None:
    ids = ["CL:0000084"] * 19 + ["CL:0000236"]
    cells = table(["my lymphocytes"] * 20, ["B cell"] * 20, cell_ontology_id=ids)
    assert find_terms(cells)["my lymphocytes"] == Term("CL:0000084", "T cell", "id")
    mixed = table(["my lymphocytes"] * 20, ["B cell"] * 20, cell_ontology_id=ids[:10] + ["CL:0000236"] * 10)
    assert find_terms(mixed)["my lymphocytes"].source == "none"


def test_what_is_set_by_hand_wins() -> None:
    cells = table(["MoMac"], ["B cell"])
    assert find_terms(cells)["MoMac"].id == ""
    found = find_terms(cells, by_hand={"MoMac": "CL:0000576", "B cell": ""})
    assert found["MoMac"] == Term("CL:0000576", "monocyte", "by hand")
    assert found["B cell"].id == ""


def test_each_cell_has_the_verdict_of_its_pair() -> None:
    cells = table(["T cell", "T cell", None, "odd", "B cell"], ["NK cell", "T cell", "T cell", "T cell", "B cell"])
    verdicts = verdict_column(cells, find_terms(cells))
    assert list(verdicts[:3]) == ["exact"] * 3  # the reference's own
    assert [v if isinstance(v, str) else None for v in verdicts[3:]] == ["sibling", "exact", None, None, "exact"]


def test_equal_labels_are_exact_even_where_the_ontology_knows_neither() -> None:
    cells = table(["cluster 7"], ["cluster 7"])
    assert list(verdict_column(cells, find_terms(cells))) == ["exact", "exact"]


def test_a_finer_prediction_is_right_and_makes_a_coarse_label_scoreable() -> None:
    cells = table(
        ["T cell"] * 3 + ["NK cell", "neuron"],
        ["CD4-positive, alpha-beta T cell"] * 2 + ["NK cell", "NK cell", "NK cell"],
    )
    terms = find_terms(cells)
    scores = relations.ontology_scores(
        relations.pair_verdicts(cells, terms), terms, ["CD4-positive, alpha-beta T cell", "NK cell"]
    )
    # The neuron cannot be scored: the reference has no kind of it.
    assert (scores["n_scored"], scores["n_right"]) == (4, 3)
    assert (scores["n_differ"], scores["n_finer"]) == (4, 2)
    assert scores["verdicts"]["sibling"] == 1 and scores["verdicts"]["unrelated"] == 1


def test_a_coarser_level_forgives_what_lies_within_it() -> None:
    cells = table(["T cell", "B cell", "macrophage"], ["NK cell", "T cell", "T cell"])
    terms, known = find_terms(cells), ["NK cell", "T cell"]
    pairs = relations.pair_verdicts(cells, terms)
    lymphocytes = relations.ontology_scores(*levels.at_level(pairs, terms, known, {"CL:0000542"}))
    assert lymphocytes["strict"] == {"n_scored": 2, "n_right": 2, "accuracy": 1.0}  # no macrophage in the reference
    assert lymphocytes["verdicts"]["exact"] == 2 and sum(lymphocytes["verdicts"].values()) == 3
    leukocytes = relations.ontology_scores(*levels.at_level(pairs, terms, known, {"CL:0000738"}))
    assert leukocytes["strict"] == {"n_scored": 3, "n_right": 3, "accuracy": 1.0}


def test_a_level_leaves_coarser_labels_as_they_are_and_finer_ones_right() -> None:
    cells = table(["leukocyte", "T cell"], ["CD4-positive, alpha-beta T cell", "B cell"])
    terms = find_terms(cells)
    pairs, rolled, known = levels.at_level(
        relations.pair_verdicts(cells, terms), terms, ["CD4-positive, alpha-beta T cell", "B cell"], {"CL:0000084"}
    )
    assert set(pairs["observed_label"]) == {"leukocyte", "T cell"} and known == ["B cell", "T cell"]
    scores = relations.ontology_scores(pairs, rolled, known)
    assert (scores["strict"]["n_scored"], scores["strict"]["n_right"]) == (1, 0)
    assert (scores["n_scored"], scores["n_right"]) == (2, 1)


def test_another_name_of_the_same_term_is_strictly_right() -> None:
    cells = table(["NK cell", "B cell"], ["natural killer cell", "natural killer cell"])
    terms = find_terms(cells)
    scores = relations.ontology_scores(relations.pair_verdicts(cells, terms), terms, ["natural killer cell"])
    assert scores["strict"] == {"n_scored": 1, "n_right": 1, "accuracy": 1.0}


def test_offered_levels_split_the_labels_into_families() -> None:
    labels = ["naive B cell", "immature B cell", "CD4-positive, alpha-beta T cell", "T cell", "granulocyte", "odd"]
    sets = levels.level_sets({label: find_term(label) for label in labels})
    assert {term_name(term) for term in sets["Families"]} == {"T cell", "B cell, CD19-positive"}
    for name, most in levels.BREADTHS.items():
        assert all(n_kinds(term) <= most for term in sets.get(name, []))
    assert levels.level_sets({"B cell": find_term("B cell")}) == {}


def test_levels_on_offer_take_in_some_labels_but_not_all() -> None:
    terms = {label: find_term(label) for label in ("T cell", "B cell", "NK cell", "macrophage", "monocyte")}
    offered = levels.common_levels(terms)
    assert offered["CL:0000542"] == "lymphocyte"
    assert not set(offered) & set(BROAD_TERMS)
    assert levels.common_levels({}) == {}


def test_the_table_of_labels_tells_the_coarser_from_the_missing() -> None:
    cells = table(["T cell", "neuron", "CD8-positive, alpha-beta T cell"], ["CD4-positive, alpha-beta T cell"] * 3)
    rows = relations.label_table(cells, find_terms(cells)).set_index("label")
    assert rows.loc["T cell", "relation_to_reference"] == "coarser"
    assert rows.loc["neuron", "relation_to_reference"] == "missing"
    assert rows.loc["CD4-positive, alpha-beta T cell", "relation_to_reference"] == "same"
    assert rows.loc["neuron", "n_observed"] == 1 and np.isnan(rows.loc["neuron", "recall"])


def test_a_query_without_observed_labels_has_no_verdict_and_no_score() -> None:
    cells = table([None, None], ["T cell", "T cell"])
    terms = find_terms(cells)
    assert verdict_column(cells, terms)[1:].isna().all()
    scores = relations.ontology_scores(relations.pair_verdicts(cells, terms), terms, ["T cell"])
    assert scores["accuracy"] is None and scores["n_scored"] == 0


def test_term_overrides_are_undone_one_by_one(tmp_path: Path) -> None:
    assert term_overrides(tmp_path) == {}
    override_terms(tmp_path, {"beta": "CL:0000169"})
    override_terms(tmp_path, {"alpha": "CL:0000171", "beta": ""})
    assert term_overrides(tmp_path) == {"beta": "", "alpha": "CL:0000171"}
    undo_override(tmp_path)
    assert term_overrides(tmp_path) == {"beta": "CL:0000169"}
    for _ in range(2):
        undo_override(tmp_path)
        assert term_overrides(tmp_path) == {}


def test_a_wrong_term_is_not_kept_and_a_damaged_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'beta', given to label 'x'"):
        override_terms(tmp_path, {"x": "beta"})
    assert not (tmp_path / BY_HAND).exists()
    for damaged in ('{"x": ', "[]"):
        (tmp_path / BY_HAND).write_text(damaged)
        with pytest.raises(RunError, match=BY_HAND):
            term_overrides(tmp_path)


def test_in_the_marrow_transfers_without_error_are_subsets_of_coarser_labels() -> None:
    path = ROOT.parent / "shared" / "tools" / "simulate_marrow.py"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    module = runpy.run_path(str(path))
    pairs = [(state[3], state[1]) for state in module["STATES"].values() if state[1]]
    ids = [module["CL_IDS"][observed] for observed, _ in pairs]
    cells = table([observed for observed, _ in pairs], [predicted for _, predicted in pairs], cell_ontology_id=ids)
    terms = find_terms(cells) | {
        "lymphoid progenitor cell": find_term("", module["CL_IDS"]["lymphoid progenitor cell"])
    }
    assert all(terms[label].id == term for label, term in module["CL_IDS"].items() if label in terms)
    scores = relations.ontology_scores(
        relations.pair_verdicts(cells, terms), terms, [predicted for _, predicted in pairs]
    )
    assert (scores["n_differ"], scores["n_finer"]) == (5, 5)  # two kinds of T cell and three precursors
    assert (scores["strict"]["n_scored"], scores["n_scored"], scores["n_right"]) == (12, 17, 17)
