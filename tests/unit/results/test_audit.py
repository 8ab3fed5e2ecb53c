"""The label audit on small simulated cells whose true labels are known."""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from labeltransfer.errors import RunError, SettingsError
from labeltransfer.results.audit import corrections
from labeltransfer.results.audit.audit import COLUMNS, Audit, audit
from labeltransfer.runs.records import relabelling
from labeltransfer.runs.records.audit_files import read_audit, write_audit

LABELS = ["B cell", "NK cell", "T cell", "granulocyte", "macrophage", "HSC"]
N_GENES = 240
N_OF_EACH = 60
METHODS = ["predicted_label", "scanvi_label", "knn_label", "forest_label", "regression_label", "consensus_label"]


class Pair:
    """A reference and a query of the same six kinds, 60 cells of each on either side, of two technologies."""

    def __init__(self, seed: int = 0, *, extra: str = "") -> None:
        rng = np.random.default_rng(seed)
        kinds = [*LABELS, extra] if extra else LABELS
        base = rng.lognormal(0, 1, N_GENES)
        rates = np.array([base * np.exp(rng.normal(0, 0.8, N_GENES)) for _ in kinds])
        self.true = np.concatenate([np.repeat(LABELS, N_OF_EACH), np.repeat(kinds, N_OF_EACH)]).astype(object)
        self.is_query = np.arange(len(self.true)) >= len(LABELS) * N_OF_EACH
        mean = rates[[kinds.index(kind) for kind in self.true]]
        mean[self.is_query] *= rng.lognormal(0, 0.4, N_GENES)  # what the technology does to each gene
        mean *= (np.where(self.is_query, 600, 3000) / mean.sum(axis=1))[:, None]
        self.counts = sp.csr_matrix(rng.poisson(mean).astype(np.float32))
        centres = rng.normal(0, 6, (len(kinds), 8))
        self.latent = centres[[kinds.index(kind) for kind in self.true]] + rng.normal(0, 1, (len(self.true), 8))
        self.said = {name: self.true.copy() for name in METHODS}
        for name in METHODS:  # each errs now and then
            wrong = rng.random(len(self.true)) < 0.04
            self.said[name][wrong] = rng.choice(LABELS, wrong.sum())
            self.said[name][self.said[name] == extra] = "macrophage" if extra else ""

    def cells(self, names: Mapping[str, str] | None = None, *, observed: np.ndarray | None = None) -> pd.DataFrame:
        """The table of cells, the query's kinds called as given."""
        if observed is None:
            called = [(names or {}).get(kind, kind) for kind in self.true]
            observed = np.where(self.is_query, np.array(called, dtype=object), self.true)
        return pd.DataFrame(
            {
                "cell_id": [f"c{i}" for i in range(len(self.true))],
                "side": pd.Categorical(np.where(self.is_query, "query", "reference")),
                "observed_label": pd.Categorical(observed),
                "n_counts": np.asarray(self.counts.sum(axis=1)).ravel(),
                **{name: pd.Categorical(said) for name, said in self.said.items()},
            }
        )

    def audit(self, names: Mapping[str, str] | None = None, **more: object) -> Audit:
        return audit(self.cells(names), self.latent, self.counts, **more)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def found(result: Audit) -> dict[str, tuple[str, str]]:
    return {row.observed_label: (row.kind, row.partner_label) for row in result.table.itertuples()}


@pytest.mark.parametrize("seed", range(4))
def test_clean_labels_are_left_alone(seed: int) -> None:
    pair = Pair(seed)
    result = pair.audit()
    assert result.table.empty
    assert list(result.table.columns) == COLUMNS
    assert (result.cells["audit_score"][pair.is_query] == 0).all()
    assert (result.cells["audited_label"].astype(object) == pair.cells()["observed_label"].astype(object)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_swap_names_both_partners_and_puts_every_cell_right(seed: int) -> None:
    pair = Pair(seed)
    result = pair.audit({"B cell": "NK cell", "NK cell": "B cell"})
    assert found(result) == {"B cell": ("swap", "NK cell"), "NK cell": ("swap", "B cell")}
    assert (result.cells["audited_label"].astype(object) == pair.true).all()
    assert set(result.table["n_cells"]) == {N_OF_EACH}
    assert result.cells["audit_score"][~pair.is_query].isna().all()


def test_a_cycle_of_three_names_what_each_class_carries(pair: Pair) -> None:
    result = pair.audit({"B cell": "T cell", "T cell": "HSC", "HSC": "B cell"})
    expected = {"T cell": ("swap", "B cell"), "HSC": ("swap", "T cell"), "B cell": ("swap", "HSC")}
    assert found(result) == expected


def test_a_swap_with_a_label_that_the_reference_lacks(pair: Pair) -> None:
    result = pair.audit({"B cell": "lymphocyte of the lab", "T cell": "B cell"})
    # T cells go by "B cell", B cells by a name of the lab's own, and no class is called T cell.
    assert found(result)["B cell"] == ("swap", "lymphocyte of the lab")


def test_a_whole_class_under_anothers_name(pair: Pair) -> None:
    observed = pair.cells()["observed_label"].astype(object).to_numpy(copy=True)
    granulocytes = np.flatnonzero(pair.is_query & (pair.true == "granulocyte"))
    macrophages = np.flatnonzero(pair.is_query & (pair.true == "macrophage"))
    observed[macrophages] = None
    observed[granulocytes[:30]] = "macrophage"
    result = audit(pair.cells(observed=observed), pair.latent, pair.counts)
    assert found(result) == {"macrophage": ("mislabelled", "granulocyte")}
    assert "30 cells called macrophage" in result.table["evidence"][0]


def test_two_kinds_under_one_name(pair: Pair) -> None:
    result = pair.audit({"granulocyte": "macrophage"})
    assert found(result) == {"macrophage": ("merged", "granulocyte")}
    moved = result.cells["audited_label"].astype(object) != pair.cells({"granulocyte": "macrophage"})["observed_label"]
    assert set(pair.true[moved.to_numpy()]) == {"granulocyte"}


def test_one_kind_under_two_names(pair: Pair) -> None:
    observed = pair.cells()["observed_label"].astype(object).to_numpy(copy=True)
    observed[np.flatnonzero(pair.is_query & (pair.true == "granulocyte"))[:30]] = "macrophage"
    result = audit(pair.cells(observed=observed), pair.latent, pair.counts)
    assert found(result) == {"macrophage": ("split", "granulocyte")}


def test_single_cells_of_a_sound_class(pair: Pair) -> None:
    observed = pair.cells()["observed_label"].astype(object).to_numpy(copy=True)
    wrong = np.flatnonzero(pair.is_query & (pair.true == "NK cell"))[:5]
    observed[wrong] = "HSC"
    result = audit(pair.cells(observed=observed), pair.latent, pair.counts)
    assert found(result) == {"HSC": ("cells", "NK cell")}
    assert set(np.flatnonzero(result.cells["audit_score"] > 0)) <= set(wrong)
    assert result.table["n_cells"][0] >= 4
    assert "NK cell" in result.table["evidence"][0]


def test_a_kind_that_the_reference_lacks_is_no_error() -> None:
    assert Pair(extra="monocyte").audit().table.empty


def test_a_coarser_name_is_no_error(pair: Pair) -> None:
    coarser = {"B cell": "lymphocyte", "T cell": "lymphocyte", "NK cell": "lymphocyte"}
    assert pair.audit(coarser).table.empty


def test_relations_spare_a_coarser_label_that_the_reference_has_too() -> None:
    pair = Pair()
    names = {"granulocyte": "macrophage"}
    assert not pair.audit(names).table.empty
    finer = pd.DataFrame(
        {"observed_label": ["macrophage"], "predicted_label": ["granulocyte"], "verdict": ["more specific"]}
    )
    assert pair.audit(names, relations=finer).table.empty
    assert pair.audit(names, relations=lambda observed, predicted: "more specific").table.empty
    assert not pair.audit(names, relations=lambda observed, predicted: "sibling").table.empty


def test_methods_that_confuse_a_class_with_one_voice_are_no_error_of_its_label(pair: Pair) -> None:
    """All four call NK cells of the query T cells; their genes, and the query's own T cells, say otherwise."""
    for name in METHODS:
        pair.said[name][pair.is_query & (pair.true == "NK cell")] = "T cell"
    assert pair.audit().table.empty


def test_genes_alone_are_no_error_either(pair: Pair) -> None:
    """A swap that no method sees is not reported, whatever the genes show."""
    names = {"B cell": "NK cell", "NK cell": "B cell"}
    observed = pair.cells(names)["observed_label"].astype(object).to_numpy()
    for name in METHODS:
        pair.said[name] = observed.copy()
    assert pair.audit(names).table.empty


def test_genes_are_named_where_their_names_are_known(pair: Pair) -> None:
    result = pair.audit({"B cell": "NK cell", "NK cell": "B cell"}, genes=[f"Gene{i}" for i in range(N_GENES)])
    assert result.table["evidence"].str.contains(r"Gene\d").all()


def test_the_same_input_gives_the_same_audit(pair: Pair) -> None:
    names = {"B cell": "NK cell", "NK cell": "B cell", "granulocyte": "macrophage"}
    first, second = pair.audit(names), pair.audit(names)
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.cells, second.cells)


@pytest.mark.parametrize("side", ["query", "reference"])
def test_without_observed_labels_on_a_side_there_is_nothing_to_audit(pair: Pair, side: str) -> None:
    table = pair.cells()
    observed = table["observed_label"].astype(object).where(table["side"] != side)
    table["observed_label"] = pd.Categorical(observed)
    result = audit(table, pair.latent, pair.counts)
    assert result.table.empty
    assert result.cells["audit_score"].fillna(0).eq(0).all()


def test_shapes_that_do_not_fit_are_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match="latent of"):
        audit(pair.cells(), pair.latent[1:], pair.counts)


@pytest.fixture
def swapped(pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table of cells with the audit's columns, and the audit, of one swap."""
    cells = pair.cells({"B cell": "NK cell", "NK cell": "B cell"})
    result = audit(cells, pair.latent, pair.counts)
    return pd.concat([cells, result.cells], axis=1), result.table


def test_heeding_a_row_changes_its_cells_alone_and_never_the_original(
    pair: Pair, swapped: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    cells, table = swapped
    before = cells.copy(deep=True)
    row = list(table["observed_label"]).index("B cell")
    labels = corrections.relabelled(cells, table, [row])
    changed = (labels.astype(object) != cells["observed_label"].astype(object)).to_numpy()
    assert changed.sum() == N_OF_EACH
    assert set(pair.true[changed]) == {"NK cell"}
    pd.testing.assert_frame_equal(cells, before)


def test_scores_are_shown_side_by_side(swapped: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    cells, table = swapped
    scores = corrections.side_by_side(cells, corrections.relabelled(cells, table, [0, 1])).set_index("labels")
    assert scores.loc["published", "accuracy"] < 0.7
    assert scores.loc["audited", "accuracy"] > 0.9
    assert list(scores["n_changed"]) == [0, 2 * N_OF_EACH]


def test_layers_are_kept_replaced_and_removed(tmp_path: Path, swapped: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, table = swapped
    assert relabelling.layers(tmp_path) == []
    relabelling.keep_layer(tmp_path, "mine", table, [0])
    relabelling.keep_layer(tmp_path, "both", table, [0, 1])
    relabelling.keep_layer(tmp_path, " mine ", table, [1])
    assert [layer.name for layer in relabelling.layers(tmp_path)] == ["both", "mine"]
    assert [corrections.rows_of(layer, table) for layer in relabelling.layers(tmp_path)] == [[0, 1], [1]]
    relabelling.remove_layer(tmp_path, "both")
    assert [layer.name for layer in relabelling.layers(tmp_path)] == ["mine"]


def test_two_people_who_keep_a_layer_at_once_both_have_it(
    tmp_path: Path, swapped: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    _, table = swapped
    names = [f"of person {n}" for n in range(8)]
    people = [threading.Thread(target=relabelling.keep_layer, args=(tmp_path, name, table, [0])) for name in names]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert {layer.name for layer in relabelling.layers(tmp_path)} == set(names)


def test_a_layer_needs_a_name_and_a_row(tmp_path: Path, swapped: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, table = swapped
    with pytest.raises(SettingsError, match="name"):
        relabelling.keep_layer(tmp_path, "  ", table, [0])
    with pytest.raises(SettingsError, match="at least one"):
        relabelling.keep_layer(tmp_path, "mine", table, [])


def test_a_damaged_file_of_layers_says_so(tmp_path: Path) -> None:
    (tmp_path / relabelling.FILE).write_text('{"layers": [{"name": "x"}]}')
    with pytest.raises(RunError, match="cannot be read"):
        relabelling.layers(tmp_path)


def test_an_older_table_of_cells_says_so(pair: Pair, swapped: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, table = swapped
    with pytest.raises(RunError, match="older"):
        corrections.cells_of(pair.cells(), table, 0)


def test_the_audit_goes_through_its_file_and_is_safe_in_spreadsheets(tmp_path: Path) -> None:
    table = pd.DataFrame([["=B", "swap", "T", 0.5, 3, "why"]], columns=COLUMNS)
    write_audit(tmp_path, table)
    pd.testing.assert_frame_equal(read_audit(tmp_path / "audit.parquet"), table, check_dtype=False)
    assert "'=B,swap,T,0.5,3,why" in (tmp_path / "audit.csv").read_text()


def test_no_suspicion_leaves_a_header_alone(tmp_path: Path, pair: Pair) -> None:
    write_audit(tmp_path, pair.audit().table)
    assert (tmp_path / "audit.csv").read_text() == ",".join(COLUMNS) + "\n"
