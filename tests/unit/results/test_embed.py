"""The map of a latent."""

from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pymde
import pytest
import torch

from labeltransfer.errors import RunError, SettingsError
from labeltransfer.neighbours import nearest_rows
from labeltransfer.params import EmbedParams
from labeltransfer.results.maps import embed, layout
from labeltransfer.results.maps.embed import MIN_CELLS, mde
from labeltransfer.results.maps.layout import neighbour_map
from labeltransfer.results.maps.placement import place
from labeltransfer.runs.records.artefacts import Artefacts
from labeltransfer.runs.worker.makers import embed as embed_maker


def groups(n_cells: int, *, n_groups: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latent of shape (n_cells, 10) with well separated groups, and the group of each cell."""
    rng = np.random.default_rng(seed)
    group = np.arange(n_cells) % n_groups
    centres = 6 * rng.standard_normal((n_groups, 10))
    return centres[group] + rng.standard_normal((n_cells, 10)), group


def nearest(rows: np.ndarray, among: np.ndarray, k: int, *, itself: bool = True) -> np.ndarray:
    """Nearest ``k`` of ``among``; where ``itself`` is in it, without that one."""
    distance = np.linalg.norm(rows[:, None].astype(float) - among[None], axis=2)
    return np.argsort(distance, axis=1)[:, 1 : k + 1] if itself else np.argsort(distance, axis=1)[:, :k]


def kept(latent: np.ndarray, points: np.ndarray, k: int) -> float:
    """Share of the 15 nearest cells of the latent that are among the ``k`` nearest on the map."""
    pairs = zip(nearest(latent, latent, 15), nearest(points, points, k), strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) / 15 for pair in pairs]))


def plain_map(latent: np.ndarray, *, seed: int) -> tuple[np.ndarray, pymde.MDE]:
    """What plain pymde makes of a latent, and its problem."""
    pymde.seed(seed)
    settings = {"embedding_dim": 2, "constraint": pymde.Standardized(), "repulsive_fraction": 0.7, "n_neighbors": 15}
    problem = pymde.preserve_neighbors(latent.astype(np.float32), **settings)
    return problem.embed().numpy(), problem


def test_groups_of_the_latent_stay_together_on_the_map() -> None:
    latent, group = groups(240)
    points = mde(latent)
    assert points.shape == (240, 2)
    assert points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (group[nearest] == group[:, None]).mean() > 0.95


def test_the_map_is_standardised() -> None:
    points = mde(groups(240)[0]).astype(float)
    assert np.allclose(points.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(points.T @ points / len(points), np.eye(2), atol=1e-2)


def test_same_seed_gives_the_same_map_and_another_seed_another() -> None:
    latent, _ = groups(120)
    first = mde(latent, seed=3)
    assert np.array_equal(first, mde(latent, seed=3))
    assert not np.array_equal(first, mde(latent, seed=4))


def test_fewer_cells_than_neighbours_use_all_others_and_say_so() -> None:
    with pytest.warns(UserWarning, match="each cell has 11 others"):
        points = mde(groups(12)[0], n_neighbors=15)
    assert np.isfinite(points).all()


def test_cells_with_the_same_latent_get_finite_points() -> None:
    latent, _ = groups(60)
    latent[30:] = latent[:30]
    assert np.isfinite(mde(latent)).all()


def test_too_few_cells_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match="widen the filters"):
        mde(np.zeros((MIN_CELLS - 1, 5)))


def test_a_latent_that_is_not_finite_is_an_error() -> None:
    latent, _ = groups(20)
    latent[3, 2] = np.nan
    with pytest.raises(RunError, match="diverged"):
        mde(latent)


def test_value_and_gradient_are_those_of_pymde() -> None:
    latent, _ = groups(300)
    problem = neighbour_map(latent.astype(np.float32), n_neighbors=15, repulsive_fraction=0.7, seed=0)
    points = torch.from_numpy(np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32))
    points[1] = points[0]
    ours, theirs = points.clone().requires_grad_(True), points.clone().requires_grad_(True)
    value, expected = problem.average_distortion(ours), pymde.MDE.average_distortion(problem, theirs)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6 * float(theirs.grad.abs().max()))


def test_distortion_and_kept_neighbours_are_those_of_plain_pymde() -> None:
    latent, _ = groups(1500, n_groups=6)
    plain, problem = plain_map(latent, seed=0)
    points = mde(latent)
    distortion = [float(problem.average_distortion(torch.from_numpy(p))) for p in (points, plain)]
    assert distortion[0] <= 1.02 * distortion[1]
    assert kept(latent, points, 50) > kept(latent, plain, 50) - 0.02


def test_groups_without_an_edge_between_them_are_laid_out_apart() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 60)
    latent = 1e3 * rng.standard_normal((5, 10))[group] + rng.standard_normal((300, 10))
    points = mde(latent)
    assert (group[nearest(points, points, 10)] == group[:, None]).mean() > 0.95


def test_few_dimensions_do() -> None:
    rng = np.random.default_rng(0)
    for n_latent in (1, 2):
        assert np.isfinite(mde(rng.standard_normal((80, n_latent)))).all()
    assert np.isfinite(mde(np.ones((40, 3)))).all()


def test_many_cells_start_from_few(monkeypatch: pytest.MonkeyPatch) -> None:
    latent, group = groups(1200, n_groups=6)
    at_once = mde(latent)
    monkeypatch.setattr(layout, "MOST_AT_ONCE", 600)
    monkeypatch.setattr(layout, "N_FIRST", 300)
    points = mde(latent)
    problem = neighbour_map(latent.astype(np.float32), n_neighbors=15, repulsive_fraction=0.7, seed=0)
    distortion = [float(problem.average_distortion(torch.from_numpy(p))) for p in (points, at_once)]
    assert distortion[0] <= 1.03 * distortion[1]
    assert not np.array_equal(points, at_once)
    assert np.array_equal(points, mde(latent))
    assert (group[nearest(points, points, 10)] == group[:, None]).mean() > 0.95


@pytest.fixture
def few_embedded(monkeypatch: pytest.MonkeyPatch) -> int:
    """A small limit, so that cells beyond it are placed."""
    monkeypatch.setattr(embed, "MOST_EMBEDDED", 400)
    return 400


def test_cells_beyond_the_limit_are_placed_near_their_neighbours(few_embedded: int) -> None:
    latent, group = groups(3000, n_groups=6)
    points = mde(latent)
    assert points.shape == (3000, 2)
    assert points.dtype == np.float32
    assert len(np.unique(points, axis=0)) == 3000
    assert np.allclose(points.T @ points / 3000, np.eye(2), atol=1e-2)
    assert (group[nearest(points, points, 10)] == group[:, None]).mean() > 0.95
    chosen = embed.sample_rows(np.zeros(3000), 400)
    places = points[chosen]
    rest = np.setdiff1d(np.arange(3000), chosen)
    pulling = nearest(latent[rest], latent[chosen], 15, itself=False)
    to_own = np.median(np.linalg.norm(points[rest][:, None] - places[pulling], axis=2), axis=1)
    to_any = np.median(np.linalg.norm(points[rest][:, None] - places[None], axis=2), axis=1)
    assert np.median(to_own / to_any) < 0.15


def test_placing_is_repeated_with_the_same_seed_alone(few_embedded: int) -> None:
    latent, _ = groups(900)
    first = mde(latent, seed=3)
    assert np.array_equal(first, mde(latent, seed=3))
    assert not np.array_equal(first, mde(latent, seed=4))


def test_equal_cells_beyond_the_limit_get_places_of_their_own(few_embedded: int) -> None:
    latent, _ = groups(600)
    latent[200:] = np.tile(latent[:200], (2, 1))
    points = mde(latent)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == 600
    assert np.isfinite(mde(np.ones((600, 4)))).all()


def test_a_cell_between_two_groups_goes_to_one_of_them() -> None:
    latent = np.array([[0, 0.1 * i] for i in range(5)] + [[1, 0.1 * i] for i in range(4)] + [[0.5, 0.2]], np.float32)
    places = np.array([[-5, 0.01 * i] for i in range(5)] + [[5, 0.01 * i] for i in range(4)], np.float32)
    points = place(latent, np.arange(9), places, n_neighbors=9)
    assert np.array_equal(points[:9], places)
    assert np.linalg.norm(points[9] - [-5, 0.02]) < 0.5


def test_nearest_rows_are_the_true_ones_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = groups(2000, n_groups=8)[0].astype(np.float32)
    laid_out, others = np.arange(0, 2000, 2), np.arange(1, 2000, 2)
    expected = nearest(latent[others], latent[laid_out], 8, itself=False)
    for block in (10_000, 2**24):
        monkeypatch.setattr("labeltransfer.neighbours.BLOCK", block)
        found = np.empty_like(expected)
        for rows, columns in nearest_rows(latent, others, laid_out, k=8, seed=0):
            found[rows.numpy()] = columns.numpy()
        assert np.mean([len(np.intersect1d(a, b)) / 8 for a, b in zip(found, expected, strict=True)]) > 0.98


def test_rare_strata_are_in_the_sample() -> None:
    strata = np.array(["rare"] * 7 + ["middle"] * 300 + ["common"] * 20_000, dtype=object)
    rows = embed.sample_rows(strata, 1000, seed=1)
    assert len(np.unique(rows)) == 1000
    assert np.array_equal(rows, np.sort(rows))
    names, counts = np.unique(strata[rows].astype(str), return_counts=True)
    drawn = dict(zip(names, counts.tolist(), strict=True))
    assert drawn["rare"] == 7
    assert drawn["middle"] >= embed.LEAST_OF_STRATUM
    assert np.array_equal(rows, embed.sample_rows(strata, 1000, seed=1))
    assert not np.array_equal(rows, embed.sample_rows(strata, 1000, seed=2))


@pytest.mark.parametrize(("n_cells", "n_strata"), [(500, 500), (500, 3), (1000, 7), (101, 40)])
def test_the_sample_has_the_size_asked_for(n_cells: int, n_strata: int) -> None:
    rows = embed.sample_rows(np.arange(n_cells) % n_strata, 100)
    assert len(np.unique(rows)) == 100


def test_strata_reach_the_map(few_embedded: int) -> None:
    latent, _ = groups(3000)
    latent[:30] += 40
    strata = np.where(np.arange(3000) < 30, "rare", "common")
    points = mde(latent, strata=strata)
    assert nearest(points[:30], points, 5).max() < 30
    assert not np.array_equal(points, mde(latent))
    with pytest.raises(ValueError, match="strata of shape"):
        mde(latent, strata=strata[:-1])


def test_how_many_cells_are_embedded_is_reported() -> None:
    assert embed.n_embedded(50) == 50
    assert embed.n_embedded(1_050_000) == embed.MOST_EMBEDDED


def test_the_stage_passes_batch_and_label_as_strata_and_says_what_it_does(few_embedded: int, tmp_path: Path) -> None:
    latent, _ = groups(1000)
    cells = pd.DataFrame({"batch": ["a", "b"] * 500, "training_label": ["rare"] * 10 + ["Unknown"] * 990}).astype(
        "category"
    )
    with h5py.File(tmp_path / "prepared.h5ad", "w") as file:
        ad.io.write_elem(file, "obs", cells.set_index(cells.index.astype(str)))
    np.save(tmp_path / "latent.npy", latent)
    said: list[str] = []
    job = SimpleNamespace(
        run=SimpleNamespace(artefacts=Artefacts(lambda stage, name: tmp_path / name)),
        params=SimpleNamespace(embed=EmbedParams(), seed=0),
        reporter=SimpleNamespace(say=said.append),
    )
    embed_maker.make(job, tmp_path, latent_of="integrate")
    assert said == ["Mapping 1,000 cells: 400 are laid out, the others placed among their nearest"]
    strata = np.array([f"{row.batch} {row.training_label}" for row in cells.itertuples()])
    assert np.array_equal(np.load(tmp_path / "mde.npy"), mde(latent, strata=np.unique(strata, return_inverse=True)[1]))
