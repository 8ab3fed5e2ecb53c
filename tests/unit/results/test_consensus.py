"""Second opinions, what they say together, and how far cells lie from labelled ones."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.classifiers import second_opinion
from labeltransfer.neighbours import Neighbours, nearest_labelled
from labeltransfer.results.trust import consensus
from labeltransfer.results.trust.confidence import calibrated
from labeltransfer.results.trust.distance import distance_percentile

NAMES = ["B", "T"]


def clouds(n_each: int = 60, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent of two clouds and a third far off, labels of the first two, and the rows that may be learnt from."""
    rng = np.random.default_rng(seed)
    centres = np.repeat([[0.0, 0, 0], [8, 0, 0], [0, 50, 0]], n_each, axis=0)
    latent = (centres + rng.normal(size=centres.shape)).astype(np.float32)
    labels = np.repeat(np.array(["B", "T", "Unknown"], dtype=object), n_each)
    return latent, labels, np.flatnonzero(labels != "Unknown")


def test_neighbours_are_the_nearest_labelled_cells_and_never_the_cell_itself() -> None:
    latent, _, taught = clouds()
    near = nearest_labelled(latent, taught, k=5)
    distances = np.linalg.norm(latent[:, None] - latent[taught][None], axis=2)
    distances[taught, np.arange(len(taught))] = np.inf
    assert np.allclose(near.distances, np.sort(distances, axis=1)[:, :5], atol=1e-4)
    assert not (near.rows == np.arange(len(latent))[:, None]).any()
    assert np.isin(near.rows, taught).all()


def test_twins_in_the_latent_are_each_others_neighbours() -> None:
    latent = np.repeat(np.arange(12, dtype=np.float32)[:, None], 2, axis=0)
    near = nearest_labelled(latent, np.arange(24), k=3)
    assert near.distances.shape == (24, 3)
    assert not (near.rows == np.arange(24)[:, None]).any()


def test_two_labelled_cells_are_enough_for_neighbours() -> None:
    near = nearest_labelled(np.array([[0.0], [1.0], [5.0]]), np.array([0, 1]))
    assert near.rows.tolist()[:2] == [[1], [0]]


def test_cells_of_a_kind_without_a_label_lie_beyond_the_reference() -> None:
    latent, labels, taught = clouds()
    percentile = distance_percentile(nearest_labelled(latent, taught), labels != "Unknown")
    assert (percentile[labels == "Unknown"] == 100).all()
    assert np.median(percentile[taught]) == pytest.approx(50, abs=2)


def test_neighbours_refuse_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="shape"):
        Neighbours(np.zeros((3, 2), int), np.zeros((3, 1)))


@pytest.mark.parametrize("method", ["knn", "forest"])
def test_methods_on_the_latent_learn_the_labels(method: str) -> None:
    latent, labels, taught = clouds()
    rows = taught[::2]
    if method == "knn":
        near = nearest_labelled(latent, rows)
        soft = second_opinion.knn_soft(near.rows, near.distances, labels, NAMES)
    else:
        soft = second_opinion.forest_soft(latent, labels, rows, NAMES)
    assert soft.shape == (180, 2) and np.allclose(soft.sum(axis=1), 1, atol=1e-5)
    unseen = np.setdiff1d(taught, rows)
    assert (consensus.names(soft)[soft.to_numpy().argmax(axis=1)][unseen] == labels[unseen]).mean() > 0.95


def marker_counts(n_each: int, *, depth: float, seed: int) -> sp.csr_matrix:
    """Counts of two cell types over forty genes, of which the first twenty are the one's, shape (2 n_each, 40)."""
    rng = np.random.default_rng(seed)
    rates = np.ones((2, 40))
    rates[0, :20] = rates[1, 20:] = 4
    return sp.csr_matrix(rng.poisson(depth * np.repeat(rates, n_each, axis=0)).astype(np.float32))


def test_regression_reads_the_genes_whatever_the_depth_or_the_mixture() -> None:
    reference, query = marker_counts(50, depth=5, seed=1), marker_counts(50, depth=0.5, seed=2)[:50]  # one type alone
    counts = sp.vstack([reference, query], format="csr")
    labels = np.array(["B"] * 50 + ["T"] * 50 + ["Unknown"] * 50, dtype=object)
    n_counts = np.asarray(counts.sum(axis=1)).ravel()
    shares: list[float] = []
    soft = second_opinion.regression_soft(counts, n_counts, labels, np.arange(0, 100, 2), NAMES, progress=shares.append)
    assert (soft["B"].to_numpy()[100:] > 0.5).mean() > 0.95
    assert shares[-1] == 1


def test_a_label_that_was_not_taught_gets_no_probability() -> None:
    latent, labels, taught = clouds()
    soft = second_opinion.forest_soft(latent, labels, taught, ["B", "NK", "T"])
    assert (soft["NK"] == 0).all()


def test_a_large_reference_is_sampled_without_losing_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "MOST_CELLS", 100)
    labels = np.array(["B"] * 900 + ["T"] * 97 + ["rare"] * 3, dtype=object)
    taught = second_opinion.taught_on(labels, np.arange(1000))
    assert len(taught) == 100 and (np.diff(taught) > 0).all()
    assert (labels[taught] == "rare").sum() == 3


def soft_of(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows, np.float32), columns=NAMES)


def table_of(softs: dict[str, pd.DataFrame], **temperatures: float) -> pd.DataFrame:
    trusted = {name: calibrated(soft, temperatures.get(name, 1.0)) for name, soft in softs.items()}
    combined = consensus.consensus_soft(trusted, dict.fromkeys(softs))
    return consensus.opinion_table(softs["scanvi"], trusted | {"consensus": combined})


def test_the_table_counts_who_agrees_and_takes_the_mean() -> None:
    softs = {
        "scanvi": soft_of((0.9, 0.1), (0.6, 0.4)),
        "knn": soft_of((0.8, 0.2), (0.1, 0.9)),
        "forest": soft_of((0.7, 0.3), (0.2, 0.8)),
        "regression": soft_of((0.1, 0.9), (0.3, 0.7)),
    }
    table = table_of(softs)
    assert table["agreement"].tolist() == [3, 1]
    assert table["consensus_label"].tolist() == ["B", "T"]
    # kNN and the forest share one vote: (0.9 + 0.75 + 0.1) / 3 and (0.4 + 0.85 + 0.7) / 3
    assert table["consensus_confidence"].tolist() == [pytest.approx(1.75 / 3), pytest.approx(1.95 / 3)]
    assert table["regression_label"].tolist() == ["T", "T"]
    assert table["confidence"].tolist() == [pytest.approx(0.9), pytest.approx(0.6)]
    assert table["second_confidence"].tolist() == [pytest.approx(0.1), pytest.approx(0.4)]


def test_a_method_that_fails_on_held_out_cells_hardly_counts() -> None:
    softs = {"scanvi": soft_of((0.9, 0.1)), "regression": soft_of((0.3, 0.7))}
    equal = consensus.consensus_soft(softs, {"scanvi": 0.9, "regression": 0.9})
    unequal = consensus.consensus_soft(softs, {"scanvi": 0.5, "regression": 0.95})
    assert equal["B"].iat[0] == pytest.approx(0.6)
    assert unequal["B"].iat[0] < 0.31


def test_calibration_stands_beside_the_confidence_as_it_came() -> None:
    softs = {"scanvi": soft_of((0.99, 0.01))}
    table = table_of(softs, scanvi=2.0)
    assert table["raw_confidence"].iat[0] == pytest.approx(0.99)
    assert table["confidence"].iat[0] == pytest.approx(99**0.5 / (1 + 99**0.5), abs=1e-4)


def test_a_report_without_held_out_cells_says_nothing() -> None:
    report = consensus.held_out_report(soft_of((0.9, 0.1)).iloc[:0], np.array([], dtype=object))
    assert (report["n_cells"], report["accuracy"], report["temperature"]) == (0, None, 1.0)
    assert consensus.best_method({"scanvi": report}) is None


def test_the_best_method_is_told_by_macro_f1_on_held_out_cells() -> None:
    labels = np.array(["B"] * 30 + ["T"] * 3, dtype=object)
    always_b = soft_of(*[(0.9, 0.1)] * 33)
    better = soft_of(*[(0.9, 0.1)] * 28, *[(0.2, 0.8)] * 5)
    reports = {"scanvi": consensus.held_out_report(always_b, labels), "knn": consensus.held_out_report(better, labels)}
    assert reports["scanvi"]["accuracy"] == pytest.approx(30 / 33)
    assert consensus.best_method(reports) == "knn"
