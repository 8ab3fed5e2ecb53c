"""Hiding a reference label: what is trained on, what becomes of its cells, and that scVI is reused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeltransfer.errors import LabelTransferError, SettingsError
from labeltransfer.params import RunParams, run_params
from labeltransfer.results.scores.evaluate import metrics, reference_labels
from labeltransfer.results.trust import hidden_label
from labeltransfer.results.trust.rejection import Rule
from labeltransfer.runs.output.deliver import annotated, deliver
from labeltransfer.runs.records.store import SHIPPED, Store, default_store
from labeltransfer.runs.start.related_runs import hiding_params, hiding_runs
from labeltransfer.runs.worker.pipeline import reusable_stages, stage_keys
from labeltransfer.runs.worker.stages import STAGES
from labeltransfer.runs.worker.work import work
from labeltransfer.storage import files
from labeltransfer.training_labels import hidden_cells, training_labels

N_OTHERS, N_HIDDEN = 100, 10


def cells_with(labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"training_label": pd.Categorical(labels)})


@pytest.fixture
def cells() -> pd.DataFrame:
    """100 held-out cells of A and B, surer one by one, nearer one by one; 10 of the hidden C; 5 of the query.

    Of C's, 7 are called A with the confidences .01 to .07, 3 are called B with full confidence but far out.
    """
    n_cells = N_OTHERS + N_HIDDEN + 5
    observed = ["A", "B"] * (N_OTHERS // 2) + ["C"] * N_HIDDEN + ["C"] * 5
    predicted = ["A", "B"] * (N_OTHERS // 2) + ["A"] * 7 + ["B"] * 3 + ["A"] * 5
    confidence = np.full(n_cells, 0.5, np.float32)
    confidence[:N_OTHERS] = np.linspace(0.001, 1, N_OTHERS)
    confidence[N_OTHERS : N_OTHERS + N_HIDDEN] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 1, 1, 1]
    distance = np.full(n_cells, 50, np.float32)
    distance[:N_OTHERS] = np.linspace(99, 0, N_OTHERS)
    distance[N_OTHERS + 7 : N_OTHERS + N_HIDDEN] = 100
    return pd.DataFrame(
        {
            "side": pd.Categorical(["reference"] * (N_OTHERS + N_HIDDEN) + ["query"] * 5),
            "observed_label": pd.Categorical(observed),
            "predicted_label": pd.Categorical(predicted),
            "confidence": confidence,
            "distance_percentile": distance,
            "held_out": np.arange(n_cells) < N_OTHERS,
        }
    )


def test_hidden_cells_become_unknown_and_the_label_no_class() -> None:
    labels = training_labels(cells_with(["A", "B", "C", "Unknown", "A"]), "A")
    assert list(labels) == ["Unknown", "B", "C", "Unknown", "Unknown"]
    assert list(labels.cat.categories) == ["B", "C", "Unknown"]


def test_without_a_hidden_label_nothing_changes() -> None:
    obs = cells_with(["A", "B", "Unknown"])
    assert training_labels(obs) is not None
    pd.testing.assert_series_equal(training_labels(obs), obs["training_label"])


@pytest.mark.parametrize(
    ("label", "words"),
    [("D", "No cell of the reference has the label 'D'.*A, B, C"), ("Unknown", "No cell of the reference")],
)
def test_a_label_that_the_reference_lacks_is_refused(label: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        training_labels(cells_with(["A", "B", "C", "Unknown"]), label)


def test_two_labels_must_be_left() -> None:
    with pytest.raises(SettingsError, match="Without 'A' the reference has 1 label; scANVI needs at least 2"):
        training_labels(cells_with(["A", "B", "Unknown"]), "A")


def test_an_empty_setting_keeps_every_key_and_a_hidden_label_those_before_scanvi(small_params: RunParams) -> None:
    keys, hiding = stage_keys(small_params), stage_keys(hiding_params(small_params, "granulocyte"))
    same = [name for name in STAGES if keys[name] == hiding[name]]
    assert same == ["prepare", "integrate", "embed_scvi"]


def test_a_run_that_hides_nothing_has_the_keys_of_before_there_was_the_setting(
    small_params: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = stage_keys(small_params)
    monkeypatch.setitem(STAGES, "transfer", replace(STAGES["transfer"], params=("transfer", "seed")))
    assert stage_keys(small_params) == keys


def test_settings_from_before_hidden_labels_are_still_read() -> None:
    stored = json.loads((SHIPPED / "runs" / "demo" / "params.json").read_text())
    stored.pop("hidden_label", None)
    assert run_params(stored).hidden_label is None


def test_absorbed_counts_the_hidden_cells_of_the_reference_alone(cells: pd.DataFrame) -> None:
    table = hidden_label.absorbed(cells, "C")
    assert table["predicted_label"].tolist() == ["A", "B"]
    assert table["n_cells"].tolist() == [7, 3]
    assert table["share"].tolist() == [0.7, 0.3]
    assert table["confidence"].tolist() == pytest.approx([0.04, 1.0])
    assert table["distance_percentile"].tolist() == [50, 100]


def test_a_rule_is_judged_on_hidden_cells_and_on_held_out_others(cells: pd.DataFrame) -> None:
    effect = hidden_label.apply_rule(cells, "C", Rule(confidence=0.035, distance=99.5))
    assert (effect.n_hidden, effect.n_hidden_rejected) == (10, 6)  # three unsure, three far
    assert effect.share_rejected == 0.6
    assert (effect.n_others, effect.n_others_rejected) == (100, 4)  # .001, .011, .021 and .031
    cells.loc[:49, "held_out"] = False
    assert hidden_label.apply_rule(cells, "C", Rule()).n_others == 50


@pytest.mark.parametrize("by", ["confidence", "distance", "both"])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.33])
def test_thresholds_cost_no_more_than_they_may_and_one_step_further_would(
    cells: pd.DataFrame, by: hidden_label.By, loss: float
) -> None:
    rng = np.random.default_rng(1)
    cells["confidence"] = rng.random(len(cells)).astype(np.float32)
    cells["distance_percentile"] = (100 * rng.random(len(cells))).astype(np.float32)
    effect = hidden_label.apply_rule(cells, "C", hidden_label.rule_at_loss(cells, "C", by=by, loss=loss))
    n_most = int(loss * N_OTHERS)
    assert effect.n_others_rejected <= n_most
    assert effect.n_others_rejected >= (n_most if by != "both" else n_most - 1)
    assert (effect.rule.confidence == 0) == (by == "distance")
    assert (effect.rule.distance == 100) == (by == "confidence")


def test_thresholds_never_look_at_the_hidden_cells(cells: pd.DataFrame) -> None:
    before = hidden_label.rule_at_loss(cells, "C")
    own = hidden_cells(cells, "C")
    cells.loc[own, "confidence"], cells.loc[own, "distance_percentile"] = 0.99, 1.0
    assert hidden_label.rule_at_loss(cells, "C") == before


def test_many_equal_values_do_not_cost_more(cells: pd.DataFrame) -> None:
    cells["confidence"] = np.float32(0.9)
    assert (
        hidden_label.apply_rule(cells, "C", hidden_label.rule_at_loss(cells, "C", by="confidence")).n_others_rejected
        == 0
    )


def test_without_held_out_cells_no_price_can_be_named(cells: pd.DataFrame) -> None:
    cells["held_out"] = False
    with pytest.raises(LabelTransferError, match="No reference cell was held out"):
        hidden_label.rule_at_loss(cells, "C")


def test_a_hidden_label_cannot_be_predicted_and_so_is_not_scored(cells: pd.DataFrame) -> None:
    assert reference_labels(cells) == ["A", "B", "C"]
    cells["hidden"] = hidden_cells(cells, "C")
    assert reference_labels(cells) == ["A", "B"]
    assert metrics(cells)["query"]["labels_missing_in_reference"] == {"C": 5}
    assert metrics(cells)["query"]["n_scored"] == 0


@pytest.fixture(scope="module")
def store(finished_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(shutil.copytree(finished_store, tmp_path_factory.mktemp("store") / "home"))


def test_a_run_that_hides_a_label_reuses_scvi_and_teaches_it_to_nobody(
    store: Store, small_params: RunParams, tmp_path: Path
) -> None:
    (run,) = store.runs()
    summary = files.read_json(run.artefacts.summary)["reference"]["labels"]
    label = max(summary, key=lambda name: summary[name])
    params = hiding_params(small_params, label)
    assert reusable_stages(store, params) == ["prepare", "integrate", "embed_scvi"]
    hiding = store.create(params)
    assert work(hiding).state == "done", hiding.status().error
    reused = [event["stage"] for event in hiding.events("start") if event["reused"]]
    assert reused == ["prepare", "integrate", "embed_scvi"]
    assert not [event for event in hiding.events("epoch") if event["stage"] == "integrate"]
    assert hiding.artefact("integrate") == run.artefact("integrate")

    own, other = (pd.read_parquet(one.artefacts.cells) for one in (hiding, run))
    assert own["hidden"].sum() == summary[label]
    assert set(own.loc[own["hidden"], "observed_label"]) == {label}
    assert (own.loc[own["hidden"], "side"] == "reference").all()
    assert not own.loc[own["hidden"], "held_out"].any()  # neither trained on nor held out
    assert "hidden" not in other
    for column in ("predicted_label", "knn_label", "forest_label", "regression_label", "consensus_label"):
        assert label not in own[column].cat.categories, column
        assert label in other[column].cat.categories, column
    assert label in set(other["regression_label"])  # that it is never given is not for its rarity
    soft = pd.read_parquet(hiding.artefacts.soft)
    assert sorted([*soft.columns, label]) == sorted(summary)

    lines = list(deliver(hiding, tmp_path))
    assert any(f"the {summary[label]:,} reference cells of the hidden label {label}" in line for line in lines)
    assert files.read_json(tmp_path / "hidden.json")["rules"]["both"]["n_hidden"] == summary[label]
    assert hiding_runs(run, store.runs()) == {label: hiding}

    import scvi

    annotated(hiding, tmp_path / "annotated.h5ad")
    import anndata as ad

    adata = ad.read_h5ad(tmp_path / "annotated.h5ad")
    assert label not in set(adata.obs["training_label"])
    scvi.model.SCANVI.load(tmp_path / "scanvi_model", adata=adata[:, adata.var["highly_variable"]].copy())


def test_a_label_that_cannot_be_hidden_ends_the_run_before_any_training(store: Store, small_params: RunParams) -> None:
    params = hiding_params(small_params, "no such cell").model_copy(update={"seed": 9})
    run = store.create(params)
    status = work(run)
    assert status.state == "failed"
    assert "No cell of the reference has the label 'no such cell'" in status.error
    assert not run.events("epoch")


def test_the_setting_is_an_option_of_the_command_line(demo_pair: Path) -> None:
    from labeltransfer.cli.asked import params_from_options
    from labeltransfer.cli.main import parser

    files = ["--reference", str(demo_pair / "reference.h5ad"), "--query", str(demo_pair / "query.h5ad")]
    options = [*files, "--labels-key", "cell_ontology_class", "--out", "x", "--hide-label", "NK cell"]
    assert params_from_options(parser().parse_args(["run", *options])).hidden_label == "NK cell"
    assert params_from_options(parser().parse_args(["run", *options[:-2]])).hidden_label is None


def test_the_default_store_has_no_related_runs_of_a_stranger(lt_home: Path, small_params: RunParams) -> None:
    store = default_store()
    run = store.create(small_params)
    store.create(hiding_params(small_params.model_copy(update={"seed": 4}), "A"))
    other = small_params.model_copy(update={"transfer": small_params.transfer.model_copy(update={"max_epochs": 3})})
    store.create(hiding_params(other, "B"))
    mine = store.create(hiding_params(small_params, "C"))
    assert hiding_runs(run, store.runs()) == {"C": mine}
