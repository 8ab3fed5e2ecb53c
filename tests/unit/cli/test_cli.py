"""The command line: two files in, labels out; errors in one sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from labeltransfer.cli.asked import params_from_options
from labeltransfer.cli.main import main, parser
from labeltransfer.config import reread
from labeltransfer.data.demo.simulate import LENGTHS, QUERY, REFERENCE
from labeltransfer.params import IntegrateParams, RunParams
from labeltransfer.presets import PRESETS
from labeltransfer.runs.records.store import default_store
from tests.support import ROOT
from tests.support.waiting import wait_for

SETTINGS = {
    "prepare": {"n_top_genes": 300},
    "integrate": {"n_layers": 1, "n_latent": 5, "n_hidden": 32},
}


def options(demo_pair: Path, out: Path, *more: str) -> list[str]:
    settings = demo_pair / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    return [
        *("run", "--reference", str(demo_pair / REFERENCE), "--query", str(demo_pair / QUERY)),
        *("--labels-key", "cell_ontology_class", "--out", str(out), "--params", str(settings)),
        *("--filter-reference", "tissue=Marrow", "sex=female", "--filter-query", "tissue=Marrow", "sex=female"),
        *("--length-normalize", "reference", "--gene-lengths", str(demo_pair / LENGTHS)),
        *("--scvi-epochs", "3", "--scanvi-epochs", "2", *more),
    ]


def test_a_run_is_fast_unless_another_preset_is_asked_for(demo_pair: Path, tmp_path: Path) -> None:
    plain = [*("run", "--reference", str(demo_pair / REFERENCE), "--query", str(demo_pair / QUERY))]
    plain += ["--labels-key", "cell_ontology_class", "--out", str(tmp_path)]

    def settings(*more: str) -> RunParams:
        return params_from_options(parser().parse_args([*plain, *more]))

    assert settings().integrate == PRESETS["fast"]["integrate"]
    assert settings().transfer == PRESETS["fast"]["transfer"]
    assert settings("--preset", "quick").integrate == PRESETS["quick"]["integrate"], "what is left open stays so"
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"integrate": {"n_latent": 7}}))
    mixed = settings("--params", str(kept))
    assert mixed.integrate == IntegrateParams(n_latent=7), "settings of a file stay as they are"
    assert mixed.transfer == PRESETS["fast"]["transfer"]
    assert settings("--params", str(kept), "--preset", "fast").integrate.loop == "fast"


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in another process, which says at its end whether Streamlit got into it."""
    code = (
        "import sys; from labeltransfer.cli.main import main; status = main(sys.argv[1:]); "
        "print('STREAMLIT' if 'streamlit' in sys.modules else 'CLEAN'); sys.exit(status)"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def outputs(demo_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Result folders of one command, carried out in a process of its own and in this one, each in a home of its own."""
    folders = [tmp_path_factory.mktemp(turn) for turn in ("first", "second")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELTRANSFER_HOME", str(folders[0] / "home"))
        done = run(options(demo_pair, folders[0] / "out"))
        assert done.returncode == 0, done.stderr
        assert "CLEAN" in done.stdout
        patch.setenv("LABELTRANSFER_HOME", str(folders[1] / "home"))
        reread()
        assert main(options(demo_pair, folders[1] / "out")) == 0
    return [folder / "out" for folder in folders]


def test_a_run_writes_every_promised_file(outputs: list[Path]) -> None:
    names = {path.name for path in outputs[0].iterdir()}
    assert names >= {
        *("predictions.csv", "metrics.json", "cells.parquet", "params.json", "scvi_model", "scanvi_model"),
        *("report.html", "script.py"),
    }


def test_predictions_have_a_row_for_each_query_cell(outputs: list[Path]) -> None:
    predictions = pd.read_csv(outputs[0] / "predictions.csv")
    assert list(predictions.columns[:4]) == ["cell_id", "predicted_label", "confidence", "observed_label"]
    metrics = json.loads((outputs[0] / "metrics.json").read_text())
    assert len(predictions) == metrics["query"]["n_cells"] >= 300
    assert predictions["cell_id"].is_unique
    assert predictions["confidence"].between(0, 1).all()


def test_metrics_tell_scores_and_seconds_by_stage(outputs: list[Path]) -> None:
    metrics = json.loads((outputs[0] / "metrics.json").read_text())
    query = metrics["query"]
    assert 0 < query["n_scored"] < query["n_cells"]
    assert 0 <= query["macro_f1"] <= 1 and 0 <= query["accuracy"] <= 1
    assert list(metrics["seconds"]) == [
        *("prepare", "integrate", "embed_scvi", "transfer", "embed_scanvi", "opinions", "evaluate"),
    ]
    assert metrics["reused_stages"] == []


def test_accuracy_is_what_the_csv_says(outputs: list[Path]) -> None:
    predictions = pd.read_csv(outputs[0] / "predictions.csv")
    cells = pd.read_parquet(outputs[0] / "cells.parquet")
    known = set(cells.loc[cells["side"] == "reference", "observed_label"].dropna())
    scored = predictions[predictions["observed_label"].isin(known)]
    query = json.loads((outputs[0] / "metrics.json").read_text())["query"]
    assert query["n_scored"] == len(scored)
    assert query["accuracy"] == pytest.approx((scored["predicted_label"] == scored["observed_label"]).mean())


def test_the_predicted_label_is_the_consensus_and_each_classifiers_own_is_next_to_it(outputs: list[Path]) -> None:
    predictions = pd.read_csv(outputs[0] / "predictions.csv")
    assert set(predictions["decided_by"]) == {"consensus"}
    assert predictions["predicted_label"].equals(predictions["consensus_label"])
    trust = json.loads((outputs[0] / "trust.json").read_text())
    assert trust["answer"] == "consensus" and trust["absent"] == {} and len(trust["voters"]) == 6
    votes = sum(
        (predictions[f"{name}_label"] == predictions["predicted_label"]).astype(int) for name in trust["voters"]
    )
    assert (votes == predictions["agreement"]).all()


def test_same_seed_gives_the_same_predictions_twice(outputs: list[Path]) -> None:
    first, second = (pd.read_csv(folder / "predictions.csv").drop(columns="run_id") for folder in outputs)
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(("number", "status", "preset"), [("SIGINT", 130, "fast"), ("SIGTERM", 143, "tutorial")])
def test_a_signal_ends_a_run_with_its_status_in_a_sentence_and_keeps_finished_stages(
    number: str, status: int, preset: str, demo_pair: Path, lt_home: Path, tmp_path: Path
) -> None:
    arguments = options(demo_pair, tmp_path / "out", "--preset", preset)
    arguments[arguments.index("--scvi-epochs") + 1] = "2000"
    process = subprocess.Popen([sys.executable, "-m", "labeltransfer", *arguments], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(lt_home.glob("runs/*/events.jsonl")) and default_store().runs()[0].events("epoch"))
    process.send_signal(signal.Signals[number])
    assert process.wait(timeout=120) == status
    assert process.stderr and "finished stages are kept" in process.stderr.read()
    assert not (tmp_path / "out" / "predictions.csv").exists()
    assert [folder.name.split("-")[0] for folder in (lt_home / "stages").iterdir()] == ["prepare"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--reference", "nowhere.h5ad"], "nowhere.h5ad"),
        (["--filter-query", "tissue"], "column=value"),
        (["--n-top-genes", "1"], "--n-top-genes"),
        (["--batch-key", "no_such_column"], "no_such_column"),
        (["--params", "nowhere.json"], "nowhere.json"),
        (["--out", "/dev/null/out"], "--out"),
        (["--labels-key", "no_such_key"], "no_such_key"),
        (["--query-labels-key", "no_such_key"], "no_such_key"),
        (["--filter-reference", "tissue=Moon"], "Filter of the reference: No cell has tissue = Moon"),
        (["--gene-lengths", "nowhere.txt"], "nowhere.txt"),
        (["--length-normalize", "none"], "--length-normalize"),
    ],
)
def test_a_users_error_is_one_sentence_and_exit_2(
    demo_pair: Path, lt_home: Path, tmp_path: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options(demo_pair, tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error
    assert not list(lt_home.glob("runs/*"))  # said before anything began


def test_what_only_the_counts_can_tell_is_an_error_in_words_too(demo_pair: Path, lt_home: Path, tmp_path: Path) -> None:
    table = tmp_path / "lengths.txt"
    table.write_text("NotAGene 1000\n")
    done = run([*options(demo_pair, tmp_path / "out"), "--gene-lengths", str(table)])
    assert done.returncode == 2
    assert "choose another table" in done.stderr and "Traceback" not in done.stderr


def test_inspect_prints_a_report(demo_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(demo_pair / REFERENCE)]) == 0
    report = capsys.readouterr().out
    assert "cells" in report and "label" in report


def test_inspect_refuses_what_is_no_h5ad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.h5ad").write_text("gene,count\n")
    assert main(["inspect", str(tmp_path / "table.h5ad")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_simulate_writes_the_demo_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "pair")]) == 0
    assert [Path(line).exists() for line in capsys.readouterr().out.splitlines()] == [True, True]


def test_simulate_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["simulate", str(tmp_path / "file" / "pair")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_fits_the_terminal(
    demo_pair: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["inspect", str(demo_pair / REFERENCE)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


def test_settings_of_a_run_that_only_prepared_still_give_predictions(demo_pair: Path, tmp_path: Path) -> None:
    arguments = options(demo_pair, tmp_path / "out")
    settings = demo_pair / "settings.json"
    settings.write_text(json.dumps(SETTINGS | {"last_stage": "prepare"}))
    assert params_from_options(parser().parse_args(arguments)).last_stage == "evaluate"


def test_inspect_reports_on_a_file_whose_name_is_no_text(demo_pair: Path, tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path) + b"/caf\xe9.h5ad"
    shutil.copy(demo_pair / "query.h5ad", strange)
    command: list[str | bytes] = [sys.executable, "-m", "labeltransfer", "inspect", strange]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"") and b"cells" in done.stdout
    missing = subprocess.run([*command[:-1], strange + b"x"], capture_output=True, check=False, cwd=ROOT)
    assert missing.returncode == 2 and b"Traceback" not in missing.stderr
