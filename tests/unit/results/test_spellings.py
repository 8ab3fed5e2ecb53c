"""Abbreviations and spellings of labels, against the Cell Ontology and against real files."""

import h5py
import pytest
from anndata.io import read_elem

from labeltransfer.results.ontology.spellings import IN_TISSUE, SPELLINGS, UNCLEAR, words_of
from labeltransfer.results.ontology.terms import find_all, find_term, is_term, search_texts, term_name
from tests.support import ROOT

TABLES = {"anywhere": SPELLINGS, **IN_TISSUE}


@pytest.mark.parametrize("table", TABLES)
def test_each_entry_is_a_term_of_today_by_that_name(table: str) -> None:
    assert all(is_term(term) for term in TABLES[table])
    assert {term: term_name(term) for term in TABLES[table]} == {t: name for t, (name, _) in TABLES[table].items()}


@pytest.mark.parametrize("table", TABLES)
def test_no_spelling_means_two_terms(table: str) -> None:
    meanings: dict[tuple[str, ...], set[str]] = {}
    for term, (_, texts) in TABLES[table].items():
        for text in texts.split(", "):
            meanings.setdefault(words_of(text), set()).add(term)
    assert {words: terms for words, terms in meanings.items() if len(terms) > 1} == {}
    assert () not in meanings
    assert not set(meanings) & {words_of(text) for text in UNCLEAR.split(", ")}


def test_no_spelling_takes_a_name_of_another_term() -> None:
    names = {words_of(text.partition(" (CL:")[0]): term for term, text in search_texts().items()}
    taken = [
        (text, names[words_of(text)], term)
        for table in TABLES.values()
        for term, (_, texts) in table.items()
        for text in texts.split(", ")
        if names.get(words_of(text), term) != term
    ]
    # Among the pancreas's labels these names, which are those of whole families, mean its own cells.
    assert {text for text, *_ in taken} <= {"acinar", "PP"}


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        (
            "CD4-positive, alpha-beta T cell",
            ["CD4 T", "T_CD4", "CD4+ T cells", "CD4 T-cells", "CD4pos T cell", "T cell (CD4+)", "t.cd4", "CD4T"],
        ),
        ("central memory CD4-positive, alpha-beta T cell", ["CD4 TCM", "CD4 Tcm", "CD4+ central memory T cells"]),
        ("CD14-positive monocyte", ["CD14+ Mono", "Mono_CD14", "CD14+ Monocytes", "CD14 Mono", "CD14-positive mono"]),
        ("CD14-low, CD16-positive monocyte", ["FCGR3A+ Mono", "FCGR3A+ Monocytes", "Mono_CD16", "CD16 Mono"]),
        ("natural killer cell", ["NK", "nk", "NK cells", "Natural Killer", "NKs"]),
        ("dendritic cell", ["DC", "DCs", "Dendritic cells", "dendritic"]),
        ("plasmacytoid dendritic cell", ["pDC", "pDCs", "Plasmacytoid DC"]),
        ("CD141-positive myeloid dendritic cell", ["cDC1", "CDC1"]),
        ("naive B cell", ["B naive", "Naïve B cells", "B_naive", "naive B"]),
        ("regulatory T cell", ["Treg", "Tregs", "T reg", "T_regulatory"]),
        ("mucosal-associated invariant T cell", ["MAIT", "MAIT cells", "T_MAIT"]),
        ("gamma-delta T cell", ["gdT", "γδ T cells", "gd T", "T_gd"]),
        ("hematopoietic precursor cell", ["HSPC", "HSPCs"]),
        ("erythroid lineage cell", ["Eryth", "Erythroid", "Erythroid cells"]),
        ("pulmonary alveolar type 2 cell", ["AT2", "AT2 cells", "Alveolar type 2", "alveolar_type_II"]),
        ("luminal epithelial cell of mammary gland", ["LumHR", "Luminal HS", "LumSec"]),
        ("smooth muscle cell", ["Smc", "SMCs", "Smooth muscle"]),
        ("type B pancreatic cell", ["Pancreatic beta cells", "beta_pancreatic", "pancreatic β-cell"]),
    ],
)
def test_a_term_is_found_by_the_ways_people_write_it(name: str, spellings: list[str]) -> None:
    assert {label: find_term(label).name for label in spellings} == dict.fromkeys(spellings, name)


@pytest.mark.parametrize(
    "label", ["CD14- Mono", "CD4neg T", "NK_DAP12-_Sp", "T1", "ungated", "DC1", "DC2", "HSC", "EC"]
)
def test_what_is_unclear_or_says_the_opposite_is_left_without_a_term(label: str) -> None:
    assert find_term(label).id == ""


def test_short_names_are_read_with_the_other_labels_of_the_run() -> None:
    blood = find_all(["HSC", "MK", "B", "T_CD4", "NK"])
    assert (blood["HSC"].name, blood["MK"].name) == ("hematopoietic stem cell", "megakaryocyte")
    assert find_all(["HSC", "hepatocyte", "Kupffer cell", "B", "T", "NK"])["HSC"].id == ""
    islet = find_all(["alpha", "beta", "delta", "PP", "T", "B", "Endo"])
    assert [islet[k].name for k in ("alpha", "beta", "PP")] == [
        *("pancreatic A cell", "type B pancreatic cell", "pancreatic PP cell")
    ]
    assert islet["Endo"].id == "" and find_all(["Endo", "Fib", "T"])["Endo"].name == "endothelial cell"
    assert find_all(["alpha", "beta", "T"])["alpha"].id == ""
    assert find_all(["Micro", "Astro", "Oligo", "OPC"])["Micro"].name == "microglial cell"


def test_an_id_goes_before_an_abbreviation() -> None:
    assert find_all(["T_CD4"], {"T_CD4": "CL:0000492"})["T_CD4"].source == "id"
    assert find_all(["T_CD4"])["T_CD4"].source == "abbreviation"


STELLATE = {"activated_stellate", "quiescent_stellate"}
LAYERS = {"NA", "eL5-3", "L5-1", "eL6-2", "eL2/3", "NPY", "eL5-2", "eL6-1", "Lhx6"}


@pytest.mark.parametrize(
    ("file", "column", "without"),
    [
        ("baron_h1_lib12_to_lib3_query.h5ad", "cell_type", STELLATE),
        ("baron_donors124_to_donor3_reference.h5ad", "cell_type1", STELLATE),
        ("pbmc_3prime_to_5prime_query.h5ad", "cell_type", set()),
        ("pbmc_3prime_to_5prime_query.h5ad", "cell_type_broad", set()),
        ("sorted_pbmc_reference.h5ad", "sorted_as", set()),
        ("sorted_pbmc_reference.h5ad", "celseq2_label", set()),
        ("sorted_pbmc_to_kang_query.h5ad", "cluster_id", set()),
        ("lymph_tissue_reference.h5ad", "cell_type", set()),
        ("breast_scrna_to_snrna_query.h5ad", "cell_type", set()),
        ("cite_pbmc10k_to_pbmc5k_query.h5ad", "cell_type", {"protein_doublet", "ungated"}),
        ("starmap_batch01_to_2_query.h5ad", "cell_type", LAYERS),
        ("zilionis_mouse_healthy_to_tumor_query.h5ad", "cell_type", set()),
        ("tm_kidney_facs_215.h5ad", "cell_ontology_class", set()),
    ],
)
def test_labels_of_real_files_find_their_term(file: str, column: str, without: set[str]) -> None:
    path = ROOT.parent / "shared" / "data" / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with h5py.File(path) as stored:
        labels = read_elem(stored["obs"])[column].dropna().astype(str).unique()
    found = find_all(labels)
    assert {label for label, term in found.items() if not term.id} == without
    by_term: dict[str, list[str]] = {}
    for label, term in found.items():
        by_term.setdefault(term.id, []).append(label)
    assert all(len(same) == 1 for term, same in by_term.items() if term)
