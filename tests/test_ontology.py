"""Labels as terms of the Cell Ontology, verdicts of pairs, and scores that know of kinds."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from labeltransfer.errors import InputError, RunError
from labeltransfer.results import levels, verdicts
from labeltransfer.results.evaluate import metrics, pair_counts, reference_labels
from labeltransfer.results.label_terms import (
    BY_HAND,
    label_ids,
    map_labels,
    plain_name,
    read_by_hand,
    set_by_hand,
    terms_of,
    undo_by_hand,
)
from labeltransfer.results.matrix import MARKS, verdict_chart
from labeltransfer.results.ontology import NO_KINSHIP, VERDICTS, Verdict, cell_ontology

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

CASES: list[tuple[str, str, str, str, Verdict]] = [  # observed, its id, predicted, its id
    ("T cell", "CL:0000084", "T cell", "CL:0000084", "exact"),
    ("NK cell", "CL:0000623", "natural killer cell", "CL:0000623", "exact"),
    ("T cell", "CL:0000084", "CD4-positive, alpha-beta T cell", "CL:0000624", "more specific"),
    ("T cell", "CL:0000084", "mature alpha-beta T cell", "CL:0000791", "more specific"),
    ("hematopoietic precursor cell", "CL:0008001", "hematopoietic stem cell", "CL:0000037", "more specific"),
    ("granulocyte", "CL:0000094", "basophil", "CL:0000767", "more specific"),
    ("mature alpha-beta T cell", "CL:0000791", "T cell", "CL:0000084", "more general"),
    ("late pro-B cell", "CL:0002048", "precursor B cell", "CL:0000817", "more general"),
    ("naive B cell", "CL:0000788", "leukocyte", "CL:0000738", "more general"),
    ("CD4-positive, alpha-beta T cell", "CL:0000624", "CD8-positive, alpha-beta T cell", "CL:0000625", "sibling"),
    ("naive B cell", "CL:0000788", "immature B cell", "CL:0000816", "sibling"),
    ("monocyte", "CL:0000576", "macrophage", "CL:0000235", "sibling"),
    ("T cell", "CL:0000084", "innate lymphoid cell", "CL:0001065", "sibling"),  # lymphocyte: the parent of both
    ("type B pancreatic cell", "CL:0000169", "pancreatic A cell", "CL:0000171", "sibling"),
    ("T cell", "CL:0000084", "B cell", "CL:0000236", "unrelated"),  # lymphocytes, as a third of all blood cells
    ("erythroblast", "CL:0000765", "granulocyte", "CL:0000094", "unrelated"),
    ("neuron", "CL:0000540", "hepatocyte", "CL:0000182", "unrelated"),
    ("fibroblast", "CL:0000057", "endothelial cell", "CL:0000115", "unrelated"),
    # Both are stem cells, and no more: what cells do makes no kin.
    ("hematopoietic stem cell", "CL:0000037", "epithelial stem cell", "CL:0000036", "unrelated"),
]


def make_cells(reference: list[str], query: list[tuple[str | None, str]], **more: list[str | None]) -> pd.DataFrame:
    """A table of cells: reference cells of these labels, predicted right, and query cells of these pairs."""
    pairs = [(label, label) for label in reference] + query
    return pd.DataFrame(
        {
            "side": pd.Categorical(["reference"] * len(reference) + ["query"] * len(query)),
            "observed_label": pd.Categorical([observed for observed, _ in pairs]),
            "predicted_label": pd.Categorical([predicted for _, predicted in pairs]),
            **{f"obs.{name}": pd.Categorical(values) for name, values in more.items()},
        }
    )


def simulator() -> ModuleType:
    path = SHARED / "tools" / "simulate_marrow.py"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    spec = importlib.util.spec_from_file_location("simulate_marrow", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("observed", "first", "predicted", "second", "expected"), CASES)
def test_verdicts_with_ids_alone(observed: str, first: str, predicted: str, second: str, expected: Verdict) -> None:
    terms = map_labels(["cluster 1", "cluster 2"], ids={"cluster 1": first, "cluster 2": second})
    assert {term.how for term in terms.values()} == {"id"}
    assert verdicts.verdict_of("cluster 1", "cluster 2", terms) == expected


@pytest.mark.parametrize(("observed", "first", "predicted", "second", "expected"), CASES)
def test_verdicts_with_names_alone(observed: str, first: str, predicted: str, second: str, expected: Verdict) -> None:
    terms = map_labels([observed, predicted])
    assert (terms[observed].id, terms[predicted].id) == (first, second)
    assert verdicts.verdict_of(observed, predicted, terms) == expected


def test_every_verdict_has_a_case() -> None:
    assert {case[-1] for case in CASES} == set(VERDICTS)


def test_a_verdict_turns_round_with_its_pair() -> None:
    turned = {"more specific": "more general", "more general": "more specific"}
    for _, first, _, second, expected in CASES:
        assert cell_ontology().verdict(second, first) == turned.get(expected, expected)


def test_what_a_cell_develops_from_is_no_ancestor() -> None:
    ontology = cell_ontology()
    immature, naive, stem = "CL:0000816", "CL:0000788", "CL:0000037"
    assert not ontology.is_kind_of(naive, immature)
    assert not ontology.is_kind_of(immature, stem)


def test_terms_that_make_no_kin_are_in_the_ontology_by_that_name() -> None:
    assert {term: cell_ontology().names.get(term) for term in NO_KINSHIP} == NO_KINSHIP


def test_the_ontology_comes_without_a_network_and_keeps_no_copy_of_the_package() -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from labeltransfer.results.ontology import cell_ontology\n"
        "print(len(cell_ontology().names) > 3000, cell_ontology() is cell_ontology())\n"
        "from cellxgene_ontology_guide.supported_versions import load_ontology_file\n"
        "print(load_ontology_file.cache_info().currsize)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.split() == ["True", "True", "0"]


@pytest.mark.parametrize(
    ("label", "term", "how"),
    [
        ("T cells", "CL:0000084", "name"),
        ("t_cell", "CL:0000084", "name"),
        ("T", "CL:0000084", "name"),
        ("B-cell", "CL:0000236", "name"),
        ("CD4-positive, alpha-beta T cell", "CL:0000624", "name"),
        ("CD4+ αβ T cells", "CL:0000624", "name"),
        ("Monocytes", "CL:0000576", "name"),
        ("NK cell", "CL:0000623", "synonym"),
        ("pancreatic beta cells", "CL:0000169", "synonym"),
        ("endothelial", "CL:0000115", "name"),
        ("alpha", None, "none"),  # a synonym of a ganglion cell, with "cell" behind it
        ("obsolete native cell", None, "none"),
        ("cluster 7", None, "none"),
    ],
)
def test_labels_by_name_and_synonym(label: str, term: str | None, how: str) -> None:
    found = map_labels([label])[label]
    assert (found.id, found.how) == (term, how)
    assert found.name == (cell_ontology().names[term] if term else None)


def test_a_name_shared_by_several_terms_finds_none() -> None:
    ontology = cell_ontology()
    by_text: dict[str, set[str]] = {}
    for term, others in ontology.synonyms.items():
        for other in others:
            by_text.setdefault(plain_name(other), set()).add(term)
    names = {plain_name(name) for name in ontology.names.values()}
    shared = [text for text, terms in by_text.items() if len(terms) > 1 and not {text, f"{text} cell"} & names]
    assert shared, "no ambiguous synonym left to try"
    assert {term.id for term in map_labels(shared).values()} == {None}


def test_ids_win_over_names_and_by_hand_over_both() -> None:
    ids = {"T cell": "CL:0000624", "B cell": "CL_0000788", "monocyte": "CL:9999999"}
    terms = map_labels(["T cell", "B cell", "monocyte"], ids=ids, by_hand={"T cell": None})
    assert (terms["T cell"].id, terms["T cell"].how) == (None, "by hand")
    assert (terms["B cell"].id, terms["B cell"].how) == ("CL:0000788", "id")
    assert (terms["monocyte"].id, terms["monocyte"].how) == ("CL:0000576", "name")  # the file's id is none


def test_an_obsolete_id_leads_to_what_replaced_it() -> None:
    ontology = cell_ontology()
    assert ontology.replaced
    for old, new in ontology.replaced.items():
        assert old not in ontology.names
        assert ontology.find(old) == new


def test_a_wrong_id_by_hand_says_so() -> None:
    with pytest.raises(InputError, match="'CL:1', set by hand for label 'T'"):
        map_labels(["T"], by_hand={"T": "CL:1"})


def test_ids_are_read_per_label_and_several_are_none() -> None:
    cells = make_cells(
        ["a", "b", "b", "c"],
        [("a", "b"), (None, "a"), ("c", "c")],
        cell_ontology_id=["CL:0000084", "CL:0000236", "CL:0000576", None, "CL:0000084", "CL:0000235", "CL:0000094"],
    )
    assert label_ids(cells) == {"a": "CL:0000084", "c": "CL:0000094"}


def test_the_column_has_a_verdict_a_cell_and_none_where_nothing_can_be_said() -> None:
    cells = make_cells(
        ["B cell", "CD4-positive, alpha-beta T cell", "odd"],
        [
            ("T cell", "CD4-positive, alpha-beta T cell"),
            ("T cell", "B cell"),
            (None, "B cell"),
            ("odd", "odd"),
            ("odd", "B cell"),
            ("B cell", "odd"),
        ],
    ).set_axis([f"cell{i}" for i in range(9)])
    column = verdicts.verdict_column(cells, terms_of(cells))
    assert list(column.index) == list(cells.index)
    assert list(column.cat.categories) == list(VERDICTS)
    told = column.astype(object).where(column.notna(), None)
    assert list(told) == ["exact"] * 3 + ["more specific", "unrelated", None, "exact", None, None]


def test_the_column_is_made_by_pair_and_not_by_cell() -> None:
    pairs = [("T cell", "B cell"), ("T cell", "CD4-positive, alpha-beta T cell"), (None, "B cell")]
    few = make_cells([], pairs)
    rows = np.random.default_rng(0).integers(0, 3, 1_000_000)
    many, terms, asked = few.iloc[rows].reset_index(drop=True), terms_of(few), []
    with pytest.MonkeyPatch.context() as patch:
        true = verdicts.verdict_of
        patch.setattr(verdicts, "verdict_of", lambda *pair: asked.append(pair) or true(*pair))
        column = verdicts.verdict_column(many, terms)
    assert len(asked) == 2  # one observed label, two predicted ones
    expected = np.array(["unrelated", "more specific", None], dtype=object)[rows]
    assert (column.astype(object).where(column.notna(), None).to_numpy() == expected).all()


SCORED = make_cells(
    ["CD4-positive, alpha-beta T cell", "natural killer cell", "B cell", "odd"],
    [
        *[("T cell", "CD4-positive, alpha-beta T cell")] * 3,
        ("T cell", "B cell"),
        *[("B cell", "B cell")] * 4,
        ("B cell", "natural killer cell"),
        ("NK cell", "natural killer cell"),
        ("plasma cell", "B cell"),
        ("other", "B cell"),
        ("odd", "odd"),
        (None, "B cell"),
    ],
)


def test_scores_strict_and_by_kinds_with_their_denominators() -> None:
    cells = SCORED
    found = verdicts.score(pair_counts(cells), terms_of(cells), reference_labels(cells))
    assert found.n_cells == 13
    # Strict: five B, one NK under another name, one odd. By kinds also the four T cells.
    assert (found.strict.n_scored, found.strict.n_correct, found.strict.n_labels) == (7, 6, 3)
    assert (found.aware.n_scored, found.aware.n_correct, found.aware.n_labels) == (11, 9, 4)
    assert found.verdicts == {"exact": 6, "more specific": 3, "more general": 0, "sibling": 1, "unrelated": 2}
    assert found.unmapped == 1
    assert (found.n_differ, found.share_more_specific) == (6, 0.5)


def test_macro_f1_by_kinds_counts_a_finer_label_as_the_observed_one() -> None:
    found = verdicts.score(pair_counts(SCORED), terms_of(SCORED), reference_labels(SCORED))
    t_cell, odd, b_cell = 2 * 3 / (4 + 3), 1.0, 2 * 4 / (5 + 4 + 1)
    assert found.strict.macro_f1 == pytest.approx((2 * 4 / (5 + 4) + 1.0 + odd) / 3)
    assert found.aware.macro_f1 == pytest.approx((t_cell + b_cell + 1.0 + odd) / 4)


def test_strict_scores_are_those_of_the_run_where_every_term_has_one_name() -> None:
    cells = SCORED[SCORED["observed_label"] != "NK cell"]
    found = verdicts.score(pair_counts(cells), terms_of(cells), reference_labels(cells)).strict
    # evaluate also has in its mean of F1 what strict scores have: labels that scored cells have
    own = metrics(cells)["query"]
    assert (found.n_scored, found.n_correct, found.n_labels) == (own["n_scored"], own["n_correct"], own["n_labels"])
    assert found.accuracy == own["accuracy"]
    assert found.macro_f1 == pytest.approx(own["macro_f1"])


def test_without_observed_labels_there_is_nothing_to_score() -> None:
    cells = make_cells(["B cell", "T cell"], [(None, "B cell")])
    run = verdicts.judge_run(cells)
    assert run.summary["query"]["strict"]["accuracy"] is None
    assert run.summary["query"]["share_more_specific"] is None
    assert run.summary["query"]["n_cells"] == 0


def test_relations_to_the_reference() -> None:
    reference = ["CD4-positive, alpha-beta T cell", "granulocyte", "natural killer cell", "odd"]
    query = ["T cell", "basophil", "NK cell", "monocyte", "odd", "other", "granulocyte"]
    cells = make_cells(reference, [(label, "granulocyte") for label in query])
    table = verdicts.label_table(terms_of(cells), reference_labels(cells)).set_index("label")
    told = {label: table.loc[label, "relation_to_reference"] for label in query}
    assert told == {
        "T cell": "coarser",
        "basophil": "finer",
        "NK cell": "exact",
        "monocyte": "missing",
        "odd": "exact",
        "other": None,
        "granulocyte": "exact",
    }
    assert table.loc["NK cell", ["term_id", "mapped_by", "in_reference"]].tolist() == ["CL:0000623", "synonym", False]


def test_levels_roll_labels_up_to_what_they_are_kinds_of() -> None:
    labels = ["naive B cell", "immature B cell", "CD4-positive, alpha-beta T cell", "T cell", "granulocyte", "odd"]
    terms = map_labels(labels)
    families = next(level for level in levels.levels(terms) if level.name == "Families")
    assert {"T cell", "B cell, CD19-positive"} == set(families.groups())
    pairs = pd.DataFrame(1, index=labels, columns=labels)
    coarse, rolled, known = levels.roll_up(pairs, terms, ["naive B cell", "odd"], families)
    assert list(coarse.index) == ["B cell, CD19-positive", "T cell", "granulocyte", "odd"]
    assert coarse.loc["B cell, CD19-positive", "T cell"] == 4
    assert coarse.to_numpy().sum() == pairs.to_numpy().sum()
    assert known == ["B cell, CD19-positive", "odd"]
    assert rolled["odd"].id is None
    assert verdicts.score(coarse, rolled, known).strict.n_scored == 18


def test_levels_never_hold_what_makes_no_kin_nor_all_labels() -> None:
    terms = map_labels(["naive B cell", "immature B cell", "T cell", "granulocyte", "monocyte", "hepatocyte"])
    offered = levels.candidates(terms)
    assert offered
    assert not set(offered) & {*NO_KINSHIP, "CL:0000000"}
    assert levels.levels(map_labels(["B cell"])) == []


def test_the_marrow_labels_all_have_the_term_that_their_id_names() -> None:
    by_id = map_labels(simulator().CL_IDS, ids=simulator().CL_IDS)
    by_name = map_labels(simulator().CL_IDS)
    assert {term.how for term in by_id.values()} == {"id"}
    apart = {label: term.name for label, term in by_id.items() if by_name[label].id != term.id}
    assert apart == {"lymphoid progenitor cell": "lymphoid lineage restricted progenitor cell"}
    assert by_name["lymphoid progenitor cell"].id is None
    assert by_id["granulocytopoietic cell"].name == "granulocytopoietic cell"


def test_in_the_marrow_true_transfers_are_subsets_of_coarser_labels() -> None:
    """The tutorial's claim, on the simulator's labels: what the reference has in finer kinds becomes finer."""
    module = simulator()
    states = [state for state in module.STATES.values() if state[1]]
    query = [(state[3], state[1]) for state in states]
    labels = [state[1] for state in states] + [observed for observed, _ in query]
    cells = make_cells([s[1] for s in states], query, cell_ontology_id=[module.CL_IDS[label] for label in labels])
    run = verdicts.judge_run(cells)
    scores = run.summary["query"]
    assert scores["n_differ"] == 5  # two kinds of T cell and three precursors
    assert scores["share_more_specific"] == 1.0
    assert (scores["strict"]["n_scored"], scores["aware"]["n_scored"], scores["aware"]["n_correct"]) == (12, 17, 17)
    coarser = run.labels.set_index("label")["relation_to_reference"].eq("coarser")
    assert set(coarser.index[coarser]) == {"T cell", "hematopoietic precursor cell"}
    assert [level["name"] for level in run.summary["levels"]] == ["Close families", "Families", "Lineages"]
    assert json.loads(json.dumps(run.summary)) == run.summary


@pytest.mark.parametrize(
    ("file", "mapped", "unmapped"),
    [
        (
            "baron_h1_lib12_to_lib3_query.h5ad",
            {"macrophage": "CL:0000235", "t_cell": "CL:0000084", "mast": "CL:0000097", "schwann": "CL:0002573"},
            {"alpha", "beta", "gamma", "delta", "epsilon", "ductal", "activated_stellate", "quiescent_stellate"},
        ),
        (
            "pbmc_3prime_to_5prime_query.h5ad",
            {"B": "CL:0000236"},
            {"T_CD4", "T_CD8", "Mono_CD14", "Mono_CD16", "NK", "DC", "MK", "HSC"},
        ),
        ("tm_kidney_facs_215.h5ad", {"leukocyte": "CL:0000738"}, set()),
    ],
)
def test_labels_of_real_files_find_no_wrong_term(file: str, mapped: dict[str, str], unmapped: set[str]) -> None:
    path = SHARED / "data" / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    import h5py
    from anndata.io import read_elem

    with h5py.File(path) as stored:
        obs = read_elem(stored["obs"])
    labels = obs["cell_type" if "cell_type" in obs else "cell_ontology_class"].unique()
    terms = map_labels(labels)
    assert mapped.items() <= {label: term.id for label, term in terms.items()}.items()
    assert {label for label, term in terms.items() if term.id is None} == unmapped


def test_terms_by_hand_are_kept_with_the_run_and_can_be_undone(tmp_path: Path) -> None:
    assert read_by_hand(tmp_path) == ({}, 0)
    set_by_hand(tmp_path, {"beta": "CL:0000169"})
    set_by_hand(tmp_path, {"alpha": "CL:0000171", "beta": None})
    assert read_by_hand(tmp_path) == ({"beta": None, "alpha": "CL:0000171"}, 2)
    undo_by_hand(tmp_path)
    assert read_by_hand(tmp_path) == ({"beta": "CL:0000169"}, 1)
    undo_by_hand(tmp_path)
    undo_by_hand(tmp_path)
    assert read_by_hand(tmp_path) == ({}, 0)


def test_a_wrong_term_by_hand_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        set_by_hand(tmp_path, {"beta": "beta"})
    assert not (tmp_path / BY_HAND).exists()


def test_a_damaged_file_of_terms_says_so(tmp_path: Path) -> None:
    (tmp_path / BY_HAND).write_text('{"by_hand": ')
    with pytest.raises(RunError, match=BY_HAND):
        read_by_hand(tmp_path)


def chart_rows(**settings: bool) -> tuple[dict, pd.DataFrame]:
    from labeltransfer.results.evaluate import confusion

    table, terms = confusion(SCORED), terms_of(SCORED)
    pairs = zip(table["observed_label"], table["predicted_label"], strict=True)
    spec = verdict_chart(table.assign(verdict=[verdicts.verdict_of(*p, terms) for p in pairs]), **settings).to_dict()
    return spec, pd.DataFrame(next(iter(spec["datasets"].values())))


@pytest.mark.parametrize("dark", [False, True])
def test_the_matrix_by_verdict_says_each_with_a_mark_too(dark: bool) -> None:
    spec, rows = chart_rows(dark=dark)
    assert len(set(MARKS.values())) == len(VERDICTS) + 1
    told = {(row.observed_label, row.predicted_label): (row.written, row.said) for row in rows.itertuples()}
    assert told["T cell", "CD4-positive, alpha-beta T cell"] == ("↓ 75", "↓ more specific")
    assert told["T cell", "B cell"] == ("× 25", "× unrelated")
    assert told["other", "B cell"] == ("? 100", "? no verdict")
    assert told["NK cell", "B cell"] == ("", "× unrelated")  # no cell, no text
    assert {"field": "said", "title": "Verdict", "type": "nominal"} in spec["layer"][0]["encoding"]["tooltip"]


def test_the_matrix_by_verdict_can_be_clicked_by_pair_of_labels() -> None:
    spec, _ = chart_rows()
    click = next(param for param in spec["params"] if param["name"] == "cell")
    assert click["select"]["fields"] == ["observed_label", "predicted_label"]
    assert click["select"]["toggle"] is False
