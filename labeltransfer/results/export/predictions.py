"""Exports: predictions as a table, the annotated AnnData, models as one zip."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import RunError
from labeltransfer.params import Side
from labeltransfer.results.scores.cells import METHODS, OBS_PREFIX
from labeltransfer.results.scores.final_labels import Edit, deciding, final_labels
from labeltransfer.results.trust.rejection import KEEP_ALL, Rule, rejected, with_unknown
from labeltransfer.storage.files import atomic_path
from labeltransfer.storage.h5ad import new_h5ad, write_anndata
from labeltransfer.storage.sparse import OutOfCoreTranspose, SparseWriter, chunk_bounds, log_normalised
from labeltransfer.training_labels import training_labels

_COLUMNS = [
    "cell_id",
    "predicted_label",
    "confidence",
    "observed_label",
    "label",
    "label_level",
    "label_path",
    "label_confidence",
    "second_label",
    "second_confidence",
    "distance_percentile",
    "agreement",
    "decided_by",
    "consensus_label",
    *(f"{name}_label" for name in METHODS),
    "ontology_verdict",
    "side",
    "technology",
    "batch",
]


def predictions(
    cells: pd.DataFrame,
    run_id: str,
    *,
    side: Side | None = "query",
    rows: np.ndarray | None = None,
    rule: Rule = KEEP_ALL,
    edits: Sequence[Edit] = (),
) -> pd.DataFrame:
    """Predictions to export: a row a cell of one side (None: of both), the run's id in the last column.

    ``decided_by`` says whose label the predicted one is; each method's own follows. Columns that a run of an older
    version lacks are left out.

    Parameters
    ----------
    cells
        The table of cells.
    run_id
        Goes into the last column.
    side
        Whose cells.
    rows
        Row numbers in ``cells``, shape (n_chosen,), where not all are wanted.
    rule
        Cells that it rejects have the predicted label ``Unknown``; what it was is in ``rejected_label``.
    edits
        Where there are any, ``final_label`` is what they make of the predicted label, and ``edit``, ``edit_action`` and
        ``edited_by`` say which edit decided; the predicted label stays what it is.
    """
    names = [name for name in _COLUMNS if name in cells]
    chosen = cells if rows is None else cells.iloc[rows]
    chosen = chosen if side is None else chosen[chosen["side"] == side]
    table = chosen[names].copy()
    if rule.active:
        out = rejected(table, rule)
        table["rejected_label"] = table["predicted_label"].astype(object).where(out)
        table["predicted_label"] = with_unknown(table["predicted_label"], out)
    if edits:
        decided = deciding(edits, len(cells))
        decided = decided if rows is None else decided[rows]
        decided = decided if side is None else decided[_of_side(cells, side, rows)]
        table = pd.concat([table, final_labels(table["predicted_label"], edits, decided)], axis=1)
    return table.assign(run_id=run_id).reset_index(drop=True)


def _of_side(cells: pd.DataFrame, side: Side, rows: np.ndarray | None) -> np.ndarray:
    """Which of the chosen cells are of a side."""
    own = (cells["side"] == side).to_numpy()
    return own if rows is None else own[rows]


def write_annotated(
    target: Path,
    *,
    prepared: Path,
    cells: pd.DataFrame,
    soft: pd.DataFrame,
    latent_scvi: np.ndarray | None,
    latent_scanvi: np.ndarray,
    settings: Mapping[str, Any],
    run_id: str = "",
) -> Path:
    """Write the annotated AnnData, which plain anndata reads.

    Of the counts, some cells are in memory at a time; meanwhile they are kept once more next to the file, in few bytes.

    Parameters
    ----------
    target
        The file to write; it appears when it is whole.
    prepared
        ``prepared.h5ad``: cells, shared genes and counts.
    cells, soft
        The table of cells and the soft predictions, rows in the order of ``prepared``.
    latent_scvi, latent_scanvi
        Arrays of shape (n_cells, n_latent); a run that was mapped has none of scVI's.
    settings
        What was asked of the run, kept as JSON in ``uns["labeltransfer"]``.
    run_id
        Kept with the settings.

    Returns
    -------
    ``target``. Its ``X`` is log1p of counts per 10,000, ``layers["counts"]`` are the counts that were trained on,
    ``obs["predicted_label"]`` and ``obs["confidence"]`` the prediction, ``obs["C_scANVI"]`` scANVI's own, ``obsm``
    holds both latents, both maps and scANVI's ``soft_predictions``, and ``var["highly_variable"]`` marks the genes that
    the models saw.

    Raises
    ------
    RunError
        The disk or the folder does not take the file.
    """
    with h5py.File(prepared) as source, built_aside(target) as building:
        stored = pd.DataFrame({"training_label": anndata.io.read_elem(source["obs/training_label"])})
        trained = training_labels(stored, settings.get("hidden_label"))
        obs = _annotated_obs(cells).assign(training_label=trained.array)  # the stored scANVI asks for it
        adata = anndata.AnnData(obs=obs, var=anndata.io.read_elem(source["var"]))
        if latent_scvi is not None:
            adata.obsm["X_scVI"] = np.asarray(latent_scvi)
            adata.obsm["X_mde_scVI"] = cells[["scvi_1", "scvi_2"]].to_numpy()
        adata.obsm["X_scANVI"] = np.asarray(latent_scanvi)
        adata.obsm["X_mde_scANVI"] = cells[["scanvi_1", "scanvi_2"]].to_numpy()
        adata.obsm["soft_predictions"] = soft.set_axis([_plain(label) for label in soft.columns], axis=1).set_axis(
            adata.obs_names
        )
        adata.uns["labeltransfer"] = {"run_id": run_id, "settings": json.dumps(dict(settings))}
        with new_h5ad(building) as (file, check):
            write_anndata(adata, file)
            _write_counts(source["layers/counts"], file, check, scratch=building.with_name(f"{building.name}.rows"))
    return target


def _write_counts(source: h5py.Group, file: h5py.File, check: Callable[[], None], *, scratch: Path) -> None:
    """Write counts, stored by gene, and their logarithms by cell, with memory for some of them at a time."""
    n_cells, n_genes = map(int, source.attrs["shape"])
    before = source["indptr"][:].astype(np.int64)
    transpose = OutOfCoreTranspose(scratch, n_cells)
    try:
        for first, stop in chunk_bounds(before):
            span = slice(before[first], before[stop])
            stored = source["data"][span], source["indices"][span], before[first : stop + 1] - before[first]
            transpose.add(sp.csc_matrix(stored, shape=(n_cells, stop - first)).tocsr())
        counts, expression = (
            SparseWriter(file, place, layout="csr", shape=(n_cells, n_genes), n_values=transpose.n_values)
            for place in ("layers/counts", "X")
        )
        for _, lines in transpose.slices():
            counts.append(lines)
            expression.append(log_normalised(lines, np.asarray(lines.sum(axis=1)).ravel()))
            check()
        counts.finish()
        expression.finish()
    finally:
        scratch.unlink(missing_ok=True)


def _annotated_obs(cells: pd.DataFrame) -> pd.DataFrame:
    """The table of cells as obs: input columns under their own names again, the maps left to obsm."""
    obs = cells.drop(columns=["scvi_1", "scvi_2", "scanvi_1", "scanvi_2"], errors="ignore")
    names = {str(c): str(c).removeprefix(OBS_PREFIX) for c in obs if str(c).startswith(OBS_PREFIX)}
    taken = set(obs.columns) - set(names)
    obs = obs.rename(columns={c: name for c, name in names.items() if name not in taken | {"C_scANVI", "_index"}})
    obs.insert(2, "C_scANVI", obs["scanvi_label" if "scanvi_label" in obs else "predicted_label"])
    return obs.set_axis([_plain(name) for name in obs.columns], axis=1)


def _plain(name: str) -> str:
    """A name that HDF5 takes for one name: a slash would open a group."""
    return name.replace("/", "|")


def zip_models(target: Path, folders: Mapping[str, Path]) -> Path:
    """Put model folders, by their name inside, into one zip that appears when it is whole.

    Raises
    ------
    RunError
        The disk or the folder does not take the file.
    """
    with (
        built_aside(target) as building,
        zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, folder in folders.items():
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                archive.write(path, f"{name}/{path.relative_to(folder)}")
    return target


@contextmanager
def built_aside(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` when all went well, and is gone when not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as building:
            yield building
    except OSError as error:
        raise RunError(f"{target} cannot be written ({error}): free some space or choose another folder.") from error
