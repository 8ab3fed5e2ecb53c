"""The panel: what its classifiers learn, and what each of them keeps to."""

import subprocess
import sys
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.classifiers import VOTERS, PanelData, Voter, training_rows
from labeltransfer.classifiers.markers import marker_genes, standard_ranks
from labeltransfer.classifiers.profiles import Profiles
from labeltransfer.classifiers.regression import Regression
from labeltransfer.neighbours import nearest_labelled
from labeltransfer.params import UNKNOWN, VoterName
from labeltransfer.results.scores.cells import METHODS
from tests.support import ROOT
from tests.support.builders import clouds

NAMES = ["B", "T"]
HEAVY = {"torch", "scvi", "scanpy", "sklearn", "streamlit"}


def marker_counts(n_each: int, *, depth: float, seed: int) -> sp.csr_matrix:
    """Counts of two cell types over forty genes, of which the first twenty are the one's, shape (2 n_each, 40)."""
    rng = np.random.default_rng(seed)
    rates = np.ones((2, 40))
    rates[0, :20] = rates[1, 20:] = 4
    return sp.csr_matrix(rng.poisson(depth * np.repeat(rates, n_each, axis=0)).astype(np.float32))


def panel_data(names: list[str] = NAMES) -> PanelData:
    """Two clouds of 60 cells with labels, every second cell to train on, and a third cloud without."""
    latent, labels, labelled = clouds()
    counts = sp.vstack([marker_counts(60, depth=5, seed=1), marker_counts(30, depth=5, seed=2)], format="csr")
    n_counts = np.asarray(counts.sum(axis=1)).ravel()
    rows = labelled[::2]
    near, is_query = nearest_labelled(latent, rows), labels == UNKNOWN
    return PanelData(labels, rows, names, latent, near, lambda: counts, n_counts, is_query)


def asked(kind: type[Voter], data: PanelData) -> pd.DataFrame:
    voter = kind(seed=0)
    voter.fit(data)
    return voter.probabilities(data)


@pytest.mark.parametrize("kind", VOTERS, ids=lambda kind: kind.name)
def test_every_voter_learns_the_labels_and_keeps_to_the_contract(kind: type[Voter]) -> None:
    data = panel_data(["B", "NK", "T"])
    soft = asked(kind, data)
    assert soft.shape == (180, 3) and list(soft.columns) == data.names and set(soft.dtypes) == {np.dtype("float32")}
    assert np.allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert (soft["NK"] == 0).all()  # a label without a training cell
    held_out = np.setdiff1d(np.flatnonzero(data.labels != "Unknown"), data.training_rows)
    assert (soft.idxmax(axis=1).to_numpy()[held_out] == data.labels[held_out]).mean() > 0.95
    assert soft.equals(asked(kind, data))


def test_names_are_unique_and_every_voter_says_what_it_is() -> None:
    assert len({voter.name for voter in VOTERS} | {"scanvi", "consensus"}) == len(VOTERS) + 2
    assert [*METHODS] == ["scanvi", *(voter.name for voter in VOTERS)]
    assert get_args(VoterName) == tuple(voter.name for voter in VOTERS)  # what settings may leave out
    for voter in VOTERS:
        assert voter.title and voter.description.endswith(".") and voter.needs in ("latent", "counts")


def test_the_names_of_the_panel_cost_no_library() -> None:
    code = f"import sys, labeltransfer.classifiers; print(sorted({HEAVY} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_regression_reads_the_genes_whatever_the_depth_or_the_mixture() -> None:
    reference, query = marker_counts(50, depth=5, seed=1), marker_counts(50, depth=0.5, seed=2)[:50]  # one type alone
    counts = sp.vstack([reference, query], format="csr")
    labels = np.array(["B"] * 50 + ["T"] * 50 + ["Unknown"] * 50, dtype=object)
    rows, latent = np.arange(0, 100, 2), np.zeros((150, 1), np.float32)
    n_counts = np.asarray(counts.sum(axis=1)).ravel()
    near, is_query = nearest_labelled(latent, rows), labels == UNKNOWN
    data = PanelData(labels, rows, NAMES, latent, near, lambda: counts, n_counts, is_query)
    shares: list[float] = []
    voter = Regression()
    voter.fit(data)
    soft = voter.probabilities(data, progress=shares.append)
    assert (soft["B"].to_numpy()[100:] > 0.5).mean() > 0.95
    assert shares[-1] == 1


def test_marker_genes_are_those_that_a_label_has_more_of() -> None:
    counts = marker_counts(50, depth=5, seed=1)
    counts = sp.hstack([counts, sp.csr_matrix(np.ones((100, 30), np.float32))], format="csr")  # thirty tell nothing
    codes = np.repeat([0, 1], 50)
    assert set(marker_genes(counts, codes, 2)) >= set(range(40))
    assert marker_genes(counts, np.zeros(100, int), 2).tolist() == list(range(70))  # nothing to tell apart


def test_products_of_ranks_are_spearman_correlations() -> None:
    counts = marker_counts(2, depth=5, seed=1)
    ranks = standard_ranks(counts)
    expected = pd.DataFrame(counts.toarray().T).corr(method="spearman").to_numpy()
    assert np.allclose(ranks @ ranks.T, expected, atol=1e-5)
    assert (standard_ranks(sp.csr_matrix((1, 40))) == 0).all()  # a cell without a count


def test_profiles_learn_what_the_query_counts_more_or_less() -> None:
    reference, query = marker_counts(50, depth=5, seed=1), marker_counts(40, depth=5, seed=2)
    factor = np.where(np.arange(40) % 20 < 10, 8.0, 0.5)  # half of either label's genes are counted sixteen times more
    query = sp.csr_matrix(np.random.default_rng(0).poisson(query.toarray() * factor).astype(np.float32))
    counts = sp.vstack([reference, query], format="csr")
    labels = np.array(["B"] * 50 + ["T"] * 50 + [UNKNOWN] * 80, dtype=object)
    rows, latent, n_counts = np.arange(100), np.zeros((180, 1), np.float32), np.asarray(counts.sum(axis=1)).ravel()
    near, is_query = nearest_labelled(latent, rows), labels == UNKNOWN
    data = PanelData(labels, rows, NAMES, latent, near, lambda: counts, n_counts, is_query)
    voter = Profiles()
    voter.fit(data)
    right = voter.probabilities(data).idxmax(axis=1).to_numpy()[100:] == np.repeat(NAMES, 40)
    assert right.mean() > 0.95
    more = factor[data.markers] > 1
    assert voter.factors[more].min() - voter.factors[~more].max() > np.log(8)


def test_a_large_reference_is_sampled_without_losing_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeltransfer.classifiers.training_sample.MOST_CELLS", 100)
    labels = np.array(["B"] * 900 + ["T"] * 97 + ["rare"] * 3, dtype=object)
    rows = training_rows(labels, np.arange(1000))
    assert len(rows) == 100 and (np.diff(rows) > 0).all()
    assert (labels[rows] == "rare").sum() == 3
