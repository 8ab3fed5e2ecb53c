"""The script that repeats a run: it compiles whatever the run is called, and gives the run's labels."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import pytest

from labeltransfer.data.demo.simulate import LENGTHS, QUERY, REFERENCE
from labeltransfer.params import PrepareParams, RunParams, SideParams
from labeltransfer.presets import PRESETS, scvi_pace
from labeltransfer.results.report.script import epochs_kept, script_settings, script_text
from labeltransfer.runs.output.deliver import deliver
from labeltransfer.runs.output.supplement import script_of
from labeltransfer.runs.records.store import default_store, find_run
from labeltransfer.runs.worker.work import work

HOSTILE = "'''\"\"\"\\\n'); import os; os.system('touch /tmp/pwned') #{}%s\x00"


def a_summary(*, n_query: int = 500) -> dict[str, Any]:
    return {
        "reference": {"technology": "Smart-seq2", "counts": "raw", "n_cells": 300},
        "query": {"technology": "10x", "counts": "layers/counts", "n_cells": n_query, "n_trained_on": n_query},
    }


def a_run(**settings: Any) -> RunParams:
    sides = {"reference": SideParams(path="/home/me/r.h5ad", labels_key="type"), "query": SideParams(path="q.h5ad")}
    return RunParams(**(sides | settings))


def settings_of(text: str) -> dict[str, Any]:
    """The settings in a script, read as literals."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "SETTINGS":
            assert node.value is not None
            return ast.literal_eval(node.value)
    raise AssertionError("no settings")


def a_script(params: RunParams, **more: Any) -> str:
    given: dict[str, Any] = {"summary": a_summary(), "history": [], "tutorial_lengths": "https://example.org/len.txt"}
    return script_text(params, **(given | more))


def test_text_of_strangers_stays_text() -> None:
    side = SideParams(path=f"/x/{HOSTILE.replace('/', '')}", labels_key=HOSTILE, filters={HOSTILE: (HOSTILE,)})
    summary = a_summary()
    summary["reference"] |= {"technology": HOSTILE, "counts": HOSTILE}
    params = a_run(name=HOSTILE, reference=side, prepare=PrepareParams(gene_lengths=HOSTILE))
    text = a_script(params, summary=summary, versions={HOSTILE: HOSTILE})
    plain = a_script(a_run())
    compile(text, "script.py", "exec")
    own = settings_of(text)
    assert own["reference"]["filters"] == {HOSTILE: [HOSTILE]}
    assert own["reference"]["labels_key"] == own["reference"]["technology"] == HOSTILE

    def skeleton(source: str) -> list[str]:
        body = [n for n in ast.parse(source).body if not isinstance(n, (ast.Expr, ast.AnnAssign))]
        return [ast.dump(node) for node in body]

    assert skeleton(text) == skeleton(plain), "nothing but the settings differs"


def test_its_csv_holds_no_formula(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(a_script(a_run()))
    obs = {"side": ["query"] * 2, "cell_id": ["+1", "c"], "observed_label": ["@x", None]}
    cells = ad.AnnData(obs=pd.DataFrame(obs, index=["a", "b"]))
    soft = pd.DataFrame({'=HYPERLINK("x")': [0.9, 0.1], "B": [0.1, 0.9]})
    runpy.run_path(str(script))["write"](soft, cells, tmp_path / "labels.csv")
    table = pd.read_csv(tmp_path / "labels.csv")
    assert table["scanvi_label"].tolist() == ['\'=HYPERLINK("x")', "B"]
    assert table["cell_id"].tolist() == ["'+1", "c"]
    assert table["observed_label"].tolist()[0] == "'@x"


def test_the_script_knows_nothing_of_this_app() -> None:
    names = set()
    for node in ast.walk(ast.parse(a_script(a_run()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert "labeltransfer" not in names
    assert {"scvi", "scanpy", "anndata"} <= names


def test_files_are_in_it_by_name_and_counts_where_they_were_found() -> None:
    text = a_script(a_run())
    own = settings_of(text)
    assert own["reference"]["file"] == "r.h5ad" and "/home/me" not in text
    assert own["reference"]["counts"] == "raw" and own["query"]["counts"] == "layers/counts"
    assert own["gene_lengths"] == "https://example.org/len.txt"


@pytest.mark.parametrize("preset", list(PRESETS))
def test_no_pace_is_left_open(preset: str) -> None:
    params = a_run(**PRESETS[preset])
    history = [
        {"event": "epoch", "stage": "integrate", "epoch": 31},
        {"event": "stopped", "stage": "integrate", "n_epochs": 31, "best_epoch": 26, "converged": True},
        {"event": "epoch", "stage": "transfer", "epoch": 9},
    ]
    own = settings_of(a_script(params, history=history))
    pace = scvi_pace(params.integrate, n_cells=800)
    assert own["scvi"]["training"]["batch_size"] == pace.batch_size
    assert own["scvi"]["plan"] == {"lr": pace.lr, "n_epochs_kl_warmup": pace.kl_warmup}
    fast = params.integrate.loop == "fast"
    assert own["scvi"]["training"]["max_epochs"] == (26 if fast else 400)
    assert own["scanvi"]["training"]["max_epochs"] == (9 if fast else 20)
    assert own["scanvi"]["stratified_split"] is fast


def test_epochs_are_those_of_the_weights_that_were_kept() -> None:
    epochs = [{"event": "epoch", "stage": "transfer", "epoch": i} for i in (1, 2, 3)]
    assert epochs_kept(epochs, "transfer") == 3
    assert epochs_kept([*epochs, {"event": "stopped", "stage": "transfer", "best_epoch": 2}], "transfer") == 2
    assert epochs_kept(epochs, "integrate") == 1


def test_it_says_where_it_cannot_equal_the_run() -> None:
    def notes_of(params: RunParams, **more: Any) -> str:
        return ast.get_docstring(ast.parse(a_script(params, **more))) or ""

    assert "it gives the run's labels" in notes_of(a_run())
    assert "NOT BIT-EQUAL" in notes_of(a_run(**PRESETS["fast"])) and "gives the run's" not in notes_of(
        a_run(**PRESETS["fast"])
    )
    sampled = notes_of(a_run(prepare=PrepareParams(max_query_cells=200)))
    assert "trained on a sample of the query" in sampled and "gives the run's" not in sampled
    settings = script_settings(
        a_run(), summary=a_summary(), history=[], tutorial_lengths="https://example.org", temperature=2.0
    )
    assert settings["temperature"] == 2.0


def test_the_shipped_demo_run_gives_a_script() -> None:
    own = settings_of(script_of(find_run("demo")))
    assert own["reference"]["filters"] == {"tissue": ["Marrow"], "sex": ["female"]}
    assert own["scvi"]["training"]["max_epochs"] == 40


@pytest.mark.filterwarnings("ignore")
def test_a_tutorial_run_is_repeated_label_by_label(
    small_params: RunParams, demo_pair: Path, tmp_path: Path, lt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters, gene lengths, chosen genes and both trainings: the same cells get the same labels."""
    params = small_params.model_copy(
        update={
            "reference": small_params.reference.model_copy(update={"batch_key": "mouse.id"}),
            "integrate": small_params.integrate.model_copy(update={"max_epochs": 8, "lr": 1e-2}),
            "transfer": small_params.transfer.model_copy(update={"max_epochs": 8, "lr": 1e-2}),
        }
    )
    assert params.integrate.loop == params.transfer.loop == "scvi-tools"
    run = default_store().create(params)
    assert work(run).state == "done", run.status().error
    out = tmp_path / "out"
    out.mkdir()
    lines = list(deliver(run, out))
    assert "script.py" in "".join(lines) and (out / "report.html").stat().st_size > 20_000
    arguments = [str(demo_pair / REFERENCE), str(demo_pair / QUERY), "--gene-lengths", str(demo_pair / LENGTHS)]
    monkeypatch.setattr(sys, "argv", ["script.py", *arguments, "--out", str(tmp_path / "again.csv")])
    runpy.run_path(str(out / "script.py"), run_name="__main__")
    app, again = (pd.read_csv(path) for path in (out / "predictions.csv", tmp_path / "again.csv"))
    assert list(app["cell_id"]) == list(again["cell_id"])
    assert list(app["scanvi_label"]) == list(again["scanvi_label"])
    confidence = pd.read_parquet(out / "cells.parquet").query("side == 'query'")["scanvi_confidence"].to_numpy()
    assert abs(confidence - again["scanvi_confidence"]).max() < 1e-4
    assert app["scanvi_label"].nunique() > 3


def test_its_help_needs_neither_scvi_nor_the_files(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(a_script(a_run()))
    done = subprocess.run([sys.executable, "script.py", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--gene-lengths" in done.stdout
