"""The report: one file that says what a run did, escapes what strangers wrote, and loads nothing."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labeltransfer.params import IntegrateParams, PrepareParams, RunParams, SideParams
from labeltransfer.presets import PRESETS
from labeltransfer.results.report.methods_text import CITATIONS, methods
from labeltransfer.results.report.render import Material, compare_with_preset, render, share
from labeltransfer.results.report.script import script_settings
from labeltransfer.results.report.svg_figures import MOST_CELLS, label_scores, maps
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import cell_table
from labeltransfer.runs.output.supplement import report_html
from labeltransfer.runs.records.store import find_run
from tests.support.builders import opinions_of, trust_of

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x.png onerror=alert(1)> \"'&"
N_REFERENCE, N_QUERY = 60, 40


class Page(HTMLParser):
    """Elements and attributes of a page, its text, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.loaded: list[tuple[str, str]] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.loaded += [(tag, value or "") for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def a_table(labels: tuple[str, str] = ("B cell", "T cell"), *, labelled: bool = True) -> tuple[pd.DataFrame, Any]:
    """A table of cells in which every fifth query cell is called another, and trust.json to it."""
    n_cells = N_REFERENCE + N_QUERY
    is_query = np.arange(n_cells) >= N_REFERENCE
    second = np.arange(n_cells) % 2 == 0
    observed = pd.Series(np.where(second, labels[1], labels[0]), dtype=object)
    if not labelled:
        observed[is_query] = None
    called = second ^ (is_query & (np.arange(n_cells) % 5 == 0))
    obs = pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(n_cells)],
            "side": pd.Categorical(np.where(is_query, "query", "reference")),
            "technology": "10x",
            "batch": "10x",
            "observed_label": observed,
            "n_counts": 1.0,
            "n_genes": 1,
        }
    )
    soft = pd.DataFrame({labels[0]: np.where(called, 0.1, 0.8), labels[1]: np.where(called, 0.9, 0.2)})
    points = np.random.default_rng(0).normal(size=(n_cells, 2))
    opinions = opinions_of(soft)
    opinions["held_out"] = np.arange(n_cells) % 2 == 1
    cells = cell_table(obs, opinions, mde_scvi=points, mde_scanvi=points)
    return cells, trust_of(cells, soft)


def a_run(**settings: Any) -> RunParams:
    sides = {"reference": SideParams(path="/home/me/r.h5ad"), "query": SideParams(path="/home/me/q.h5ad")}
    return RunParams(**(sides | settings))


def a_report(cells: pd.DataFrame, **parts: Any) -> Page:
    material = {"run_id": "run-1", "params": a_run(), "cells": cells, "metrics": evaluate.metrics(cells)}
    return Page(render(Material(**(material | parts))))


def test_hostile_text_is_shown_and_never_read_as_markup() -> None:
    cells, trust = a_table((HOSTILE, "T cell"))
    params = a_run(
        name=HOSTILE[:80],
        reference=SideParams(path=f"/a/{HOSTILE.replace('/', '')}.h5ad", filters={HOSTILE: (HOSTILE,)}),
    )
    page = a_report(
        cells,
        params=params,
        trust=trust | {"alarm": {"level": "alarm", "reasons": [HOSTILE]}, "ontology": {"verdicts": {HOSTILE: 3}}},
        summary={"steps": [HOSTILE]},
        versions={HOSTILE: HOSTILE},
        seconds={HOSTILE: 1.0},
        device=HOSTILE,
        audit=pd.DataFrame({"observed_label": [HOSTILE], "evidence": [HOSTILE]}),
        edits=[{"name": HOSTILE, "action": "relabel", "label": HOSTILE, "rows": [1, 2], "who": HOSTILE}],
    )
    assert "script" not in page.elements and "img" not in page.elements
    assert page.handlers == []
    assert page.text.count("<script>alert('x')</script>") > 10
    assert not any("evil" in address for _, address in page.loaded)


def test_nothing_is_loaded_and_only_citations_are_linked() -> None:
    cells, trust = a_table()
    page = a_report(cells, trust=trust)
    assert {tag for tag, _ in page.loaded} == {"a"}
    assert {address for _, address in page.loaded} <= {work.url for work in CITATIONS.values()}
    assert not {"script", "link", "iframe", "img", "object"} & set(page.elements)


def test_scores_carry_their_denominators() -> None:
    cells, trust = a_table()
    text = a_report(cells, trust=trust).text
    query = evaluate.metrics(cells)["query"]
    assert query["n_correct"] == 32
    assert "80.0 % accuracy: 32 of 40 scored query cells" in text
    assert f"{query['macro_f1']:.3f} macro-F1: mean over 2 labels of 40 scored query cells" in text
    assert "80.0% (16 of 20)" in text, "recall of a label"
    n_held_out = trust["methods"]["scanvi"]["n_cells"]
    assert f"On {n_held_out} labelled reference cells" in text
    assert f"100.0 % of {n_held_out} cells" in text, "accuracy of a method on held-out cells"


def test_label_scores_are_those_of_the_table_with_the_numbers_behind_them() -> None:
    cells, _ = a_table()
    expected = evaluate.per_label(cells).set_index("label")
    for score in label_scores(cells):
        row = expected.loc[score.label]
        assert score.n_right / score.n_called == pytest.approx(row["precision"])
        assert score.n_right / score.n_observed == pytest.approx(row["recall"])
        assert score.f1 == pytest.approx(row["f1"])
        assert score.n_given == row["n_predicted"]


def test_a_share_of_nothing_is_a_dash() -> None:
    assert share(0, 0) == "–"
    assert share(1, 4) == "25.0% (1 of 4)"


def test_parts_that_a_run_lacks_are_left_out_with_a_sentence() -> None:
    cells, _ = a_table(labelled=False)
    text = a_report(cells).text
    for sentence in (
        "nothing is scored",
        "no confusion matrix",
        "has no calibration",
        "asked no other classifiers",
        "older than the check",
        "were not audited",
        "not compared in the Cell Ontology",
    ):
        assert sentence in text, sentence
    assert "Edits by hand" not in text


@pytest.mark.parametrize("part", ["methods", "alarm", "query", "best_method"])
def test_a_trust_file_without_a_part_still_makes_a_report(part: str) -> None:
    cells, trust = a_table()
    assert "Methods compared" in a_report(cells, trust={k: v for k, v in trust.items() if k != part}).text


def test_the_calibration_of_no_held_out_cell_is_left_out() -> None:
    cells, trust = a_table()
    nothing = {"n_cells": 0, "accuracy": None, "macro_f1": None, "temperature": 1.0, "before": None, "after": None}
    text = a_report(cells, trust=trust | {"methods": dict.fromkeys(trust["methods"], nothing)}).text
    assert "has no calibration" in text


def test_audit_ontology_and_edits_are_shown_where_there_are_any() -> None:
    cells, trust = a_table()
    verdicts = {"verdicts": {"exact": 30, "sibling": 10}, "n_scored": 40, "n_right": 30, "n_differ": 10, "n_finer": 0}
    audit = pd.DataFrame({"observed_label": ["B cell"], "kind": ["swap"], "partner_label": ["T cell"]})
    text = a_report(
        cells,
        trust=trust | {"ontology": verdicts},
        audit=audit,
        edits=[{"name": "mine", "action": "relabel", "label": "B cell", "rows": [7, 9], "who": "me"}],
    ).text
    assert "sibling 25.0% (10 of 40)" in text
    assert "75.0% (30 of 40) scored query cells are right" in text
    assert "1 of 1 suspected labels" in text and "swap T cell" in text
    assert "mine relabel B cell 2 me" in text
    assert "found no observed label" in a_report(cells, audit=audit.head(0)).text


def test_settings_that_differ_from_the_nearest_preset_come_first() -> None:
    quick = PRESETS["quick"]
    params = a_run(**quick, prepare=PrepareParams(n_top_genes=1500))
    preset, changed, same = compare_with_preset(params)
    assert preset == "quick"
    assert changed == [("Genes and cells", "Highly variable genes", "1500", "2000")]
    assert ("scVI", "Learning rate", "0.002") in same
    preset, changed, _ = compare_with_preset(
        a_run(integrate=IntegrateParams(n_latent=7), panel=PRESETS["tutorial"]["panel"])
    )
    assert preset == "tutorial" and changed == [("scVI", "Latent dimensions", "7", "30")]


def test_files_are_given_by_name_alone() -> None:
    cells, _ = a_table()
    params = a_run(prepare=PrepareParams(length_normalize="query", gene_lengths="/home/me/secret/lengths.txt"))
    html = render(Material(run_id="run-1", params=params, cells=cells))
    assert "r.h5ad" in html and "lengths.txt" in html
    assert "/home/me" not in html and "secret" not in html


def test_maps_draw_a_sample_of_many_cells_and_say_of_how_many() -> None:
    cells, _ = a_table()
    many = pd.concat([cells] * 100, ignore_index=True)
    drawn = {found.title: found for found in maps(many, {})}
    reference = drawn["Reference, observed label"]
    assert (reference.n_drawn, reference.n_cells) == (MOST_CELLS, 100 * N_REFERENCE)
    assert sum(layer.path.count("M") for layer in reference.layers) == MOST_CELLS
    assert "3,000 of 6,000 cells are drawn" in a_report(many).text


def test_the_paragraph_follows_the_settings_and_cites_what_it_names() -> None:
    def said(params: RunParams, **trust: Any) -> tuple[str, set[str]]:
        text, works = methods(params, summary={}, history=[], trust=trust, versions={"scvi-tools": "1.4.2"})
        return text, {work.short for work in works}

    text, works = said(a_run(seed=7, prepare=PrepareParams(length_normalize="reference", hvg_batch="none")))
    assert "divided by gene length" in text and "ranked over all cells" in text and "The seed was 7" in text
    assert {"Lopez et al., 2018", "Xu et al., 2021", "Stuart et al., 2019", "Agrawal et al., 2021"} <= works
    assert "Guo et al., 2017" not in works and "Tabula Muris Consortium, 2020" not in works
    plain, _ = said(a_run())
    assert "gene length" not in plain and "ranked within each technology" in plain
    senis = SideParams(path="/data/tabula-muris-senis-facs-official-raw-obj.h5ad")
    text, works = said(a_run(reference=senis), methods={"scanvi": {"n_cells": 50, "temperature": 1.5}})
    assert {"Guo et al., 2017", "Tabula Muris Consortium, 2020"} <= works
    assert "50 held-out reference cells (scANVI's temperature: 1.50)" in text
    voters = ["scanvi", "log_regression", "correlation"]
    text, works = said(a_run(), methods={name: {} for name in voters}, answer="consensus", voters=voters)
    assert "logistic regression on log counts; rank correlation" in text
    assert "mean probability over 3 classifiers" in text
    assert "Aran et al., 2019" in works and "Domínguez Conde et al., 2022" not in works
    assert "scANVI finds most probable" in said(a_run(), answer="scanvi")[0]


@pytest.mark.parametrize(
    ("ranking", "said"),
    [
        ({"method": "seurat_v3", "span": 0.3, "within": "technology"}, "seurat_v3 method (Stuart et al., 2019) as"),
        ({"method": "seurat_v3", "span": 0.5, "within": "technology"}, "with a span of 0.5 for its trend"),
        ({"method": "pearson_residuals", "span": None, "within": "none"}, "residuals (Lause et al., 2021)"),
    ],
)
def test_the_paragraph_says_how_genes_were_ranked(ranking: dict[str, Any], said: str) -> None:
    summary = {"genes": {"n_shared": 5000, "n_chosen": 2000, "ranking": ranking}}
    text, _ = methods(a_run(), summary=summary, history=[], trust={}, versions={})
    assert said in text and "2,000 most variable of the 5,000 genes" in text
    assert ("ranked over all cells" in text) == (ranking["within"] == "none")
    assert ("span" in text) == (ranking["span"] == 0.5)
    assert settings_ranking(ranking) == (ranking["method"], ranking["span"], ranking["within"])


def settings_ranking(ranking: dict[str, Any]) -> tuple[Any, ...]:
    """What the script that repeats the run is given of a ranking."""
    side = {"technology": "10x", "counts": "X", "n_cells": 300}
    summary = {"reference": side, "query": side, "genes": {"ranking": ranking}}
    own = script_settings(a_run(), summary=summary, history=[], tutorial_lengths="", temperature=1.0)
    return own["hvg_method"], own["hvg_span"], own["hvg_batch"]


def test_the_paragraph_says_how_many_cells_were_not_trained_on() -> None:
    sides = {"n_cells": 10, "n_cells_in_file": 10, "n_trained_on": 9}
    summary = {"query": sides | {"n_without_chosen": 1}, "reference": sides | {"n_without_chosen": 0}}
    text, _ = methods(a_run(), summary=summary, history=[], trust={}, versions={})
    assert "1 cell without a count in these genes was left out of training" in text
    text, _ = methods(a_run(), summary={}, history=[], trust={}, versions={})
    assert "without a count" not in text


def test_the_shipped_demo_run_gives_a_small_whole_report() -> None:
    html = report_html(find_run("demo"))
    text = Page(html).text
    metrics = evaluate.metrics(pd.read_parquet(find_run("demo").artefacts.cells))["query"]
    assert len(html) < 600_000
    assert f"{metrics['n_correct']:,} of {metrics['n_scored']:,} scored query cells" in text
    assert "1,200 of 1,510 in the file" in text
    assert "Train scANVI" in text and "scvi-tools 1.4.2" in text
    assert "for 40 epochs" in text
