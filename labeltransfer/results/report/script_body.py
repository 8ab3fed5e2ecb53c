"""Repeats one run of labeltransfer with plain scvi-tools, scanpy and anndata."""

import argparse
import re
from math import ceil
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

SETTINGS: dict[str, Any] = {}

UNKNOWN = "Unknown"
NO_LABEL = {"", "nan", "na", "n/a", "none", "null", "unknown", "undefined", "unassigned", "not assigned"}
NO_LABEL |= {"unlabelled", "unlabeled", "unannotated"}


def main() -> None:
    """Read both files, train both models, write the query's labels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("reference", type=Path, nargs="?", default=SETTINGS["reference"]["file"])
    parser.add_argument("query", type=Path, nargs="?", default=SETTINGS["query"]["file"])
    parser.add_argument("--gene-lengths", default=SETTINGS["gene_lengths"], help="file or address of the table")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"))
    parser.add_argument("--accelerator", default="cpu")
    options = parser.parse_args()

    lengths = read_lengths(options.gene_lengths) if SETTINGS["length_normalize"] != "none" else None
    sides = [
        read_side(path, side, lengths if SETTINGS["length_normalize"] == side else None)
        for path, side in ((options.reference, "reference"), (options.query, "query"))
    ]
    everyone = join(*sides)
    trained = choose_cells(everyone)
    genes = choose_genes(everyone[trained])
    everyone = everyone[:, genes].copy()
    # scVI divides by a cell's counts in these genes, so it is not trained on a cell without any.
    trained &= np.asarray(everyone.layers["counts"].sum(axis=1)).ravel() > 0
    cells = everyone[trained].copy()
    print(f"Training on {cells.n_obs:,} cells x {cells.n_vars:,} genes")
    soft = train(cells, everyone, options.accelerator)
    write(soft, everyone, options.out)


def read_lengths(source: str) -> pd.Series:
    """Table of gene lengths: a gene and a length on each line, separated by spaces, a tab or a comma."""
    is_address = source.startswith(("http://", "https://"))
    text = (urlopen(source).read() if is_address else Path(source).read_bytes()).decode("utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip()]
    separator = next((mark for mark in "\t," if mark in lines[0]), None)
    found: dict[str, float] = {}
    for number, line in enumerate(lines):
        gene, length = (field.strip().strip('"') for field in line.split(separator))
        if number == 0 and not re.fullmatch(r"[0-9.eE+-]+", length):
            continue  # a header
        found.setdefault(gene, float(length))
    return pd.Series(found, dtype=float)


def read_side(path: Path, side: str, lengths: pd.Series | None) -> ad.AnnData:
    """One file: its wanted cells, its raw counts, its genes by unique name, normalised by gene length if asked for."""
    asked = SETTINGS[side]
    adata = ad.read_h5ad(path)
    wanted = np.ones(adata.n_obs, bool)
    for column, values in asked["filters"].items():
        if values:
            named = adata.obs[column].map(as_text, na_action="ignore").astype(object)
            wanted &= named.isin({*values, *(value.removesuffix(".0") for value in values)}).to_numpy()
    labels = np.full(adata.n_obs, None, dtype=object)
    if asked["labels_key"] is not None:
        column = adata.obs[asked["labels_key"]].astype(object)
        known = column.notna() & ~column.astype(str).str.strip().str.lower().isin(NO_LABEL)
        labels[known] = column[known].astype(str)
    if side == "reference" or not asked["keep_unlabelled"]:
        wanted &= labels != None  # noqa: E711  elementwise
    rows = np.flatnonzero(wanted)

    place = asked["counts"]
    source = adata.raw if place == "raw" else adata
    matrix = adata.layers[place.removeprefix("layers/")] if place.startswith("layers/") else source.X
    counts = sp.csr_matrix(matrix[rows], dtype=np.float32)
    counts.eliminate_zeros()
    if asked["non_integer"] == "round" and lengths is None:
        counts.data = np.rint(counts.data)
        counts.eliminate_zeros()
    genes = gene_names(source.var, asked["gene_names"])
    kept = ~(genes.duplicated() | (genes.str.strip() == ""))
    if lengths is not None:
        kept &= (lengths.reindex(genes) > 0).to_numpy()
    counts, genes = counts[:, np.flatnonzero(kept)], genes[kept]
    if lengths is not None:
        own = lengths.reindex(genes).to_numpy()
        # As if every gene had the median length, rounded: scVI models integer counts.
        counts.data = np.rint(counts.data * (np.median(own) / own)[counts.indices]).astype(np.float32)
        counts.eliminate_zeros()

    batch = pd.Series(asked["technology"], index=range(len(rows)), dtype=object)
    if asked["batch_key"] is not None:
        own_batch = adata.obs[asked["batch_key"]].iloc[rows].astype(object)
        batch = asked["technology"] + " / " + own_batch.where(own_batch.notna(), "none").astype(str)
    obs = pd.DataFrame(
        {
            "cell_id": adata.obs_names[rows].astype(str).to_numpy(),
            "side": side,
            "technology": asked["technology"],
            "batch": batch.to_numpy(),
            "observed_label": labels[rows],
        },
        index=[f"{side}-{row}" for row in rows],
    )
    print(f"{side}: {len(rows):,} of {adata.n_obs:,} cells, {len(genes):,} genes")
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))


def as_text(value: Any) -> str:
    """A value as filters name it; of numbers, 3.0 is 3."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def gene_names(var: pd.DataFrame, column: str | None) -> pd.Index:
    """Names to match genes by; version numbers of Ensembl ids are dropped."""
    names = pd.Series(var.index.astype(str), dtype=object)
    if column:
        own = pd.Series(var[column].to_numpy(), dtype=object)
        names = own.where(own.notna() & (own.astype(str).str.strip() != ""), names).astype(str).str.strip()
    return pd.Index(names.str.replace(r"^(ENS[A-Z]*G\d{11})(\.\d+)?$", r"\1", regex=True), dtype=object)


def join(reference: ad.AnnData, query: ad.AnnData) -> ad.AnnData:
    """Both sides over the genes that they share, reference first; cells without a count there are left out."""
    genes = reference.var_names[reference.var_names.isin(query.var_names)]
    counts = sp.vstack([reference[:, genes].X, query[:, genes].X], format="csr")
    counts.sort_indices()
    obs = pd.concat([reference.obs, query.obs])
    obs["training_label"] = obs["observed_label"].where(obs["side"] == "reference", UNKNOWN).astype("category")
    for name in ("technology", "batch"):
        obs[name] = pd.Categorical(obs[name], categories=obs[name].unique())
    joined = ad.AnnData(obs=obs, var=pd.DataFrame(index=genes), layers={"counts": counts})
    filled = np.asarray(counts.sum(axis=1)).ravel() > 0
    print(f"{len(genes):,} genes are shared; {int((~filled).sum()):,} cells have no count in them and are left out")
    return joined[filled].copy()


def choose_cells(cells: ad.AnnData) -> np.ndarray:
    """Cells to train on: all, or the reference and a random part of a query that is too large."""
    trained = np.ones(cells.n_obs, bool)
    query = np.flatnonzero(cells.obs["side"] == "query")
    if len(query) > SETTINGS["max_query_cells"]:
        trained[query] = False
        trained[np.random.default_rng(0).choice(query, SETTINGS["max_query_cells"], replace=False)] = True
    return trained


def choose_genes(cells: ad.AnnData) -> np.ndarray:
    """Mask of the highly variable genes, shape (n_genes,)."""
    if SETTINGS["n_top_genes"] >= cells.n_vars:
        return np.ones(cells.n_vars, bool)
    import scanpy as sc

    group = SETTINGS["hvg_batch"]
    groups = np.full(cells.n_obs, "all", dtype=object) if group == "none" else cells.obs[group].to_numpy()
    ranked = ad.AnnData(cells.layers["counts"], obs=pd.DataFrame({"group": groups}, index=cells.obs_names))
    ranked.var_names = cells.var_names
    ask: dict[str, Any] = {"n_top_genes": SETTINGS["n_top_genes"], "inplace": False, "check_values": False}
    ask |= {"flavor": SETTINGS["hvg_method"], "batch_key": "group"}
    if SETTINGS["hvg_method"] == "pearson_residuals":
        table = sc.experimental.pp.highly_variable_genes(ranked, **ask)
    else:
        table = sc.pp.highly_variable_genes(ranked, span=SETTINGS["hvg_span"], **ask)
    return table["highly_variable"].to_numpy()


def train(cells: ad.AnnData, everyone: ad.AnnData, accelerator: str) -> pd.DataFrame:
    """Train scVI, then scANVI from it; probability of each label for each of ``everyone``."""
    import scvi

    labels = cells.obs["training_label"].to_numpy(dtype=object)
    common = {"accelerator": accelerator, "devices": 1, "enable_progress_bar": False}
    first, second = SETTINGS["scvi"], SETTINGS["scanvi"]

    def fit(model: Any, settings: dict[str, Any], split: list[np.ndarray] | None) -> None:
        own = {"train_size": settings["train_size"], "plan_kwargs": settings["plan"]} | settings["training"]
        model.train(**common, **own, datasplitter_kwargs={"external_indexing": split} if split else None)

    scvi.settings.seed = SETTINGS["seed"]
    scvi.model.SCVI.setup_anndata(cells, layer="counts", batch_key="batch")
    model = scvi.model.SCVI(cells, **first["architecture"])
    fit(model, first, stratified_split(labels, first["train_size"] or 0.9) if first["stratified_split"] else None)

    if SETTINGS["hidden_label"] is not None:
        hidden = (cells.obs["training_label"] == SETTINGS["hidden_label"]).to_numpy()
        cells.obs["training_label"] = pd.Categorical(np.where(hidden, UNKNOWN, labels))
        labels = cells.obs["training_label"].to_numpy(dtype=object)
    scvi.settings.seed = SETTINGS["seed"]
    scanvi = scvi.model.SCANVI.from_scvi_model(model, labels_key="training_label", unlabeled_category=UNKNOWN)
    fit(scanvi, second, scanvi_split(labels, second))
    everyone.obs["training_label"] = UNKNOWN  # what is known of a cell does not steer its prediction
    return scanvi.predict(None if cells.n_obs == everyone.n_obs else everyone, soft=True)


def scanvi_split(labels: np.ndarray, settings: dict[str, Any]) -> list[np.ndarray] | None:
    """Rows of training, validation and test; None leaves the split to scvi-tools.

    A last step of a single cell cannot be normalised, so then one cell more goes to validation. Validation needs a
    labelled cell, or has none at all.
    """
    share, step = settings["train_size"], settings["training"]["batch_size"]
    known = labels != UNKNOWN
    n_of = [int(known.sum()), int((~known).sum())]
    n_training = [ceil(share * n_cells) for n_cells in n_of]
    lacks_labels = n_training[0] == n_of[0] > 0 and n_training[1] < n_of[1]
    if not settings["stratified_split"] and not lacks_labels and sum(n_training) % step != 1:
        return None
    training, validation, test = stratified_split(labels, share)
    if len(validation) and known.any() and not known[validation].any():
        labelled = training[known[training]]
        if len(np.unique(labels[labelled].astype(str))) < len(labelled):
            moved = last_of_most(labels, labelled)
            training, validation = training[training != moved], np.sort(np.append(validation, moved))
        else:
            training, validation = np.arange(len(labels)), validation[:0]
    if len(training) % step == 1:
        moved = last_of_most(labels, training)
        training = training[training != moved]
        if len(validation):
            validation = np.sort(np.append(validation, moved))
        else:
            test = np.array([moved])
    return [training, validation, test]


def last_of_most(labels: np.ndarray, rows: np.ndarray) -> int:
    """Last of some rows with the label that most of them have."""
    names, counts = np.unique(labels[rows].astype(str), return_counts=True)
    return int(rows[labels[rows] == names[counts.argmax()]][-1])


def stratified_split(labels: np.ndarray, share: float) -> list[np.ndarray]:
    """Rows of training, validation and (empty) test, drawn within each label."""
    rng = np.random.default_rng(SETTINGS["seed"])
    training = np.zeros(labels.size, dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        training[rows[: max(1, round(share * rows.size))]] = True
    return [np.flatnonzero(training), np.flatnonzero(~training), np.array([], dtype=int)]


def write(soft: pd.DataFrame, cells: ad.AnnData, target: Path) -> None:
    """Labels of the query as CSV; ``scanvi_confidence`` is at the temperature that the run was calibrated with."""
    query = (cells.obs["side"] == "query").to_numpy()
    raw = soft.to_numpy(dtype=np.float32)[query]
    scores = np.log(np.maximum(raw, 1e-6)) / SETTINGS["temperature"]
    calibrated = np.exp(scores - scores.max(axis=1, keepdims=True))
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    best = np.argsort(-raw, axis=1, kind="stable")[:, 0]
    rows = np.arange(len(best))
    pd.DataFrame(
        {
            "cell_id": harmless(cells.obs["cell_id"].to_numpy()[query]),
            "scanvi_label": harmless(soft.columns.to_numpy()[best]),
            "scanvi_confidence": calibrated[rows, best],
            "raw_confidence": raw[rows, best],
            "observed_label": harmless(cells.obs["observed_label"].to_numpy()[query]),
        }
    ).to_csv(target, index=False)
    print(f"{len(best):,} query cells labelled: {target}")


def harmless(texts: np.ndarray) -> list[Any]:
    """Texts that a spreadsheet would take for formulas, full-width ones included, get an apostrophe in front."""
    formula = re.compile("(?:^|(?<=[;\t\r\n]))(?=[ \xa0]*[=+\\-@;\t\r\n\uff1d\uff0b\uff0d\uff20])")
    return [formula.sub("'", t) if isinstance(t, str) else t for t in texts]


if __name__ == "__main__":
    main()
