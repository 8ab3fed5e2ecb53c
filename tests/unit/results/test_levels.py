"""Labels at several levels: the tree of labels, the way down it, and columns of a file that are levels."""

from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import read_elem

from labeltransfer.errors import SettingsError
from labeltransfer.params import UNKNOWN
from labeltransfer.results.levels.back_off import NO_LEVEL, answers, contradictions, depths, descend, is_right
from labeltransfer.results.levels.columns import nested_columns, parents_of
from labeltransfer.results.levels.hierarchy import FINEST, ROOT, Hierarchy, flat, from_parents, from_terms
from labeltransfer.results.ontology.terms import find_all, find_term, lineage
from tests.support import ROOT as FOLDER

PBMC = ["B", "T_CD4", "Mono_CD14", "NK", "T_CD8", "Mono_CD16", "DC", "MK", "HSC"]


def random_tree(rng: np.random.Generator, n_labels: int) -> Hierarchy:
    """Labels in random groups, and these in random groups, two to four times over; some labels lie in none."""
    labels = [f"label {i}" for i in range(n_labels)]
    levels: dict[str, dict[str, str]] = {}
    own = list(range(n_labels))
    for level in range(int(rng.integers(2, 5))):
        n_groups = max(1, int(len(set(own)) * rng.uniform(0.3, 0.9)))
        above = dict(zip(sorted(set(own)), rng.integers(0, n_groups, len(set(own))).tolist(), strict=True))
        own = [above[group] for group in own]
        levels[f"level {level}"] = {label: f"{level}-{group}" for label, group in zip(labels, own, strict=True)}
        if level == 0:
            alone = labels[int(rng.integers(n_labels))]
    for parents in levels.values():
        del parents[alone]
    return from_parents(labels, levels)


def random_probabilities(rng: np.random.Generator, n_cells: int, n_labels: int) -> np.ndarray:
    """Probabilities from sure to even; some exact ties and zeros among them."""
    sharp = rng.uniform(0.02, 2, (n_cells, 1))
    values = rng.gamma(sharp, size=(n_cells, n_labels)) + 1e-12
    values[::7] = np.round(values[::7])
    values[:: n_cells // 3] = 1
    values += values.sum(axis=1, keepdims=True) == 0
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_no_cell_contradicts_itself_between_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_labels = int(rng.integers(2, 41))
    tree = random_tree(rng, n_labels)
    descent = descend(random_probabilities(rng, 2000, n_labels), tree)
    for threshold in (0.0, 0.3, 0.5, 0.8, 0.99, 1.0, rng.uniform(0, 1, len(tree.levels))):
        table = answers(descent, threshold)
        assert contradictions(table, tree) == 0
        members = {node.name: set(node.members) for node in tree.nodes}
        for path in table["label_path"].cat.categories:
            steps = [members[name] for name in path.split(" > ") if path]
            assert all(fine < coarse for coarse, fine in pairwise(steps))


def test_what_contradicts_itself_is_counted() -> None:
    tree = from_parents(["a", "b", "c"], {"broad": {"a": "x", "b": "x", "c": "y"}})
    table = answers(descend(np.array([[0.6, 0.3, 0.1]] * 4), tree), 0.5)
    table.loc[0, "level.broad"] = "y"
    table.loc[1, "level.label.confidence"] = 0.95
    table["label"] = table["label"].cat.add_categories("c")
    table.loc[2, "label"] = "c"
    assert contradictions(table, tree) == 3


@pytest.mark.parametrize("seed", range(6))
def test_probabilities_are_summed_upward_and_never_grow_downward(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 20)
    values = random_probabilities(rng, 500, 20)
    descent = descend(values, tree)
    for level in range(len(tree.levels)):
        members = tree.groups[level][None, :] == descent.groups[level][:, None]
        assert np.allclose(descent.confidence[level], (values * members).sum(axis=1), atol=1e-6)
    assert (np.diff(descent.confidence, axis=0) <= 0).all()
    # Down from a group the way is to its most probable part.
    for level in range(1, len(tree.levels)):
        within = tree.groups[level - 1][None, :] == descent.groups[level - 1][:, None]
        of_group = [tree.groups[level] == group for group in range(len(tree.names[level]))]
        parts = np.stack([(values * (within & members)).sum(axis=1) for members in of_group])
        assert (descent.confidence[level] >= parts.max(axis=0) - 1e-6).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_higher_threshold_never_gives_a_finer_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 15)
    descent = descend(random_probabilities(rng, 800, 15), tree)
    found = np.array([depths(descent, threshold) for threshold in np.linspace(0, 1, 40)])
    assert (np.diff(found, axis=0) <= 0).all()
    assert (found[0] == len(tree.levels)).all()
    # A label that is right stays so where it is made coarser.
    right = is_right(descent, rng.integers(0, 15, 800))
    assert (np.diff(right.astype(int), axis=0) <= 0).all()


def test_each_cell_gets_the_finest_label_that_is_sure_enough() -> None:
    broad = {"T_CD4": "T", "T_CD8": "T", "Mono_CD14": "Mono", "Mono_CD16": "Mono", "B": "B lineage"}
    tree = from_parents(["B", "T_CD4", "T_CD8", "Mono_CD14", "Mono_CD16"], {"broad": broad})
    values = [[0, 0.9, 0.05, 0.05, 0], [0, 0.5, 0.45, 0.05, 0], [0.3, 0.3, 0.3, 0.1, 0], [0.95, 0.05, 0, 0, 0]]
    table = answers(descend(np.array(values), tree), 0.8)
    assert table["label"].tolist() == ["T_CD4", "T", UNKNOWN, "B"]
    assert table["label_level"].tolist() == [FINEST, "broad", NO_LEVEL, FINEST]
    assert table["label_path"].tolist() == ["T > T_CD4", "T", "", "B"]  # B has no relative to back off to
    assert table["label_confidence"].tolist() == pytest.approx([0.9, 0.95, 1, 0.95])
    assert table["level.broad"].tolist() == ["T", "T", "T", "B lineage"]
    assert table["level.label.confidence"].tolist() == pytest.approx([0.9, 0.5, 0.3, 0.95])


def test_a_level_may_have_its_own_threshold_and_one_that_splits_nothing_asks_for_none() -> None:
    tree = from_parents(["a1", "a2", "b"], {"broad": {"a1": "a", "a2": "a", "b": "b"}})
    descent = descend(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), tree)
    assert depths(descent, [0.6, 0.9]).tolist() == [1, 2]
    assert depths(descent, [0.95, 0.1]).tolist() == [0, 0]


def test_probabilities_of_other_labels_are_refused() -> None:
    tree = flat(["a", "b"])
    with pytest.raises(ValueError, match="not the labels"):
        descend(pd.DataFrame([[0.5, 0.5]], columns=["b", "a"]), tree)
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        descend(np.ones((1, 3)) / 3, tree)


def test_nodes_are_a_tree_from_the_root_down() -> None:
    levels = {"broad": {"a1": "A", "a2": "A", "b": "B"}, "whole": dict.fromkeys(["a1", "a2", "b"], "all")}
    tree = from_parents(["a1", "a2", "b"], levels)
    assert tree.levels == ("whole", "broad", FINEST)
    nodes = tree.nodes
    assert [node.name for node in nodes] == [ROOT, "A", "b", "a1", "a2"]
    assert [nodes[node.parent].name for node in nodes[1:]] == [ROOT, ROOT, "A", "A"]
    assert [node.level for node in nodes] == [-1, 1, 2, 2, 2]
    assert tree.path(3) == "A > a1" and tree.path(0) == ""


def test_levels_that_cut_across_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="'x' of the level 'one' has two parents at the level 'other', 'p' and 'q'"):
        from_parents(list("abcd"), {"other": dict(zip("abcd", "pqqq", strict=True)), "one": {"a": "x", "b": "x"}})
    with pytest.raises(ValueError, match="two parents"):
        Hierarchy(("a", "b"), ("l", "m", FINEST), np.array([[0, 1], [0, 0], [0, 1]]), (("x", "y"), ("z",), ("a", "b")))


def test_a_label_by_itself_keeps_apart_from_a_group_of_its_name() -> None:
    tree = from_parents(["T", "T1", "T2"], {"broad": {"T1": "T", "T2": "T"}})
    assert tree.names[0] == ("T (label)", "T")
    assert contradictions(answers(descend(np.eye(3), tree), 0.5), tree) == 0


def test_the_ontology_gives_a_tree_of_families() -> None:
    tree = from_terms(PBMC, find_all(PBMC))
    paths = {tree.path(i) for i in range(1, len(tree.nodes))}
    assert {"T cell > T_CD4", "mononuclear phagocyte > monocyte > Mono_CD16", "B", "MK"} <= paths
    assert tree.levels[-1] == FINEST and len(tree.levels) <= 4


def test_labels_without_a_term_hang_from_the_root_alone() -> None:
    labels = ["cluster 1", *PBMC, "cluster 2"]
    tree = from_terms(labels, find_all(labels))
    alone = [node for node in tree.nodes if node.name.startswith("cluster")]
    assert [node.parent for node in alone] == [0, 0]
    nothing = from_terms(["cluster 1", "cluster 2"], find_all(["cluster 1", "cluster 2"]))
    assert nothing.levels == (FINEST,) and flat(["cluster 1", "cluster 2"]).levels == (FINEST,)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_called_by_what_all_of_its_labels_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = ["T cell", "naive B cell", "plasma cell", "monocyte", "macrophage", "neutrophil", "mast cell", "erythrocyte"]
    pool += ["NK", "pDC", "cDC1", "platelet", "fibroblast", "adipocyte", "endothelial cell", "hepatocyte", "T_CD4"]
    pool += ["keratinocyte", "neuron", "Astro", "Oligo", "AT1", "AT2", "Treg", "MAIT", "gdT", "odd", "cluster 3"]
    labels = rng.permutation(pool)[:16].tolist()
    terms = find_all(labels)
    tree = from_terms(labels, terms)
    for node in tree.nodes[1:]:
        if len(node.members) > 1:
            group = find_term(node.name)
            assert group.source == "name"
            assert all(group.id in lineage(terms[labels[place]].id) for place in node.members)


def obs_table() -> pd.DataFrame:
    fine = ["T_CD4", "T_CD8", "Mono_CD14", "Mono_CD16", "B", "NK"] * 5
    middle = {"T_CD4": "T", "T_CD8": "T", "Mono_CD14": "Mono", "Mono_CD16": "Mono"}
    coarse = {"Mono_CD14": "myeloid", "Mono_CD16": "myeloid"}
    obs = pd.DataFrame({"cell_type": pd.Categorical(fine)})
    obs["broad"] = [coarse.get(label, "lymphoid") for label in fine]
    obs["middle"] = pd.Categorical([middle.get(label, label) for label in fine])
    obs["copy"] = [f"{label} cell" for label in fine]
    obs["same as middle"] = obs["middle"].astype(str).str.upper()
    obs["donor"] = [f"d{i % 4}" for i in range(len(fine))]
    obs["score"] = np.arange(len(fine)) % 2
    obs["one"] = "human"
    return obs


def test_levels_are_found_among_the_columns_from_fine_to_coarse() -> None:
    obs = obs_table()
    assert nested_columns(obs, "cell_type") == ["middle", "broad"]
    assert nested_columns(obs, "middle") == ["broad"]
    assert nested_columns(obs, "cell_type", without=["middle", "same as middle"]) == ["broad"]
    assert nested_columns(obs, "broad") == [] and nested_columns(obs, "no such column") == []


def test_missing_values_are_no_second_parent_but_a_real_one_is() -> None:
    obs = obs_table().astype({"broad": object})
    obs.loc[[0, 7], "broad"] = None
    assert nested_columns(obs, "cell_type") == ["middle", "broad"]
    obs.loc[1, "broad"] = "myeloid"
    assert nested_columns(obs, "cell_type") == ["middle"]
    with pytest.raises(SettingsError, match=r"the label 'T_CD8' has 2 parents there \('lymphoid', 'myeloid'\)"):
        parents_of(obs, "cell_type", "broad")
    with pytest.raises(SettingsError, match="no obs column 'lineage'"):
        parents_of(obs, "cell_type", "lineage")


@pytest.mark.parametrize(
    ("file", "labels_key", "levels"),
    [
        ("pbmc_3prime_to_5prime_reference.h5ad", "cell_type", ["cell_type_broad"]),
        ("sorted_pbmc_reference.h5ad", "sorted_as", ["cell_type"]),
        ("zilionis_mouse_healthy_to_tumor_reference.h5ad", "Minor_subset", ["cell_type"]),
        ("lymph_tissue_reference.h5ad", "cell_type", []),
    ],
)
def test_levels_of_real_files_are_found(file: str, labels_key: str, levels: list[str]) -> None:
    path = FOLDER.parent / "shared" / "data" / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with h5py.File(path) as stored:
        obs = read_elem(stored["obs"])
    assert nested_columns(obs, labels_key) == levels
    labels = sorted(obs[labels_key].dropna().astype(str).unique())
    tree = from_parents(labels, {key: parents_of(obs, labels_key, key) for key in levels})
    assert len(tree.levels) == len(levels) + 1
