"""What the app does with an input, and whether it is right: compared with anndata's reading of the same file."""

import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.fuzz.child import Report
from labeltransfer.data import intake
from labeltransfer.data.prepare.pair import prepare
from labeltransfer.errors import LabelTransferError
from labeltransfer.params import PrepareParams, RunParams, Side, SideParams

MAX_TEXT = 2000
"""Characters of a message that a page can still show."""


def look(path: Path, valid: intake.Summary, secret: str, report: Report) -> None:
    """Take the way of an upload: what the probe does, and what the Data page does after it.

    Reports ``refused REASON`` or, one after the other, ``passed`` (the probe would), ``read`` and ``agrees``, ``differs
    WHERE`` or ``nothing to compare``; anything else that happens is a fault of the app.
    """
    try:
        summary = intake.read_summary(path)
        found = intake.inspect(summary)
    except LabelTransferError as error:
        report(_refused(error, path, secret))
        return
    report("passed")
    found += [*intake.inspect(summary, side="query"), *intake.compare_genes(valid, summary)]
    for finding in found:
        if max(map(len, (finding.title, finding.detail, finding.way_out))) > MAX_TEXT:
            report(f"unclear {finding.title[:60]} takes {len(finding.detail)} characters")
    for column in summary.obs.columns[:6]:
        values = summary.obs[column].dropna()
        if len(values):
            intake.filter_rows(summary.obs, {column: [str(values.iloc[0])]})
    texts = [text for finding in found for text in (finding.title, finding.detail, finding.way_out)]
    shown = "".join([*texts, *summary.places, summary.obs.to_csv(), summary.var.to_csv()])
    if secret.encode() in shown.encode():  # which also fails where a page could not show it
        report("leaked")
    report("read")
    report(_comparison(summary, path))


def _refused(error: LabelTransferError, path: Path, secret: str) -> str:
    """What to report of a refusal: whether it is one that a page can show, with nothing of the server's folders."""
    text = str(error)
    clear = 20 < len(text) < MAX_TEXT and "\n" not in text and str(path.parent) not in text and secret not in text
    text.encode()
    return f"refused {text}" if clear else f"unclear {text}"


def _comparison(summary: intake.Summary, path: Path) -> str:
    try:
        plain = ad.read_h5ad(path)
        counts, var = _counts(plain, summary.counts), plain.raw.var if summary.counts == "raw" else plain.var
    except Exception:  # noqa: BLE001  it refuses what we need not read, such as a damaged uns
        return "nothing to compare"
    pairs = {
        "cell names": (summary.obs.index, plain.obs_names),
        "gene names": (summary.var.index, var.index),
        "columns": (summary.obs.columns, plain.obs.columns),
    }
    for what, (ours, theirs) in pairs.items():
        if [*map(str, ours)] != [*map(str, theirs)]:
            return f"differs in {what}"
    for i, name in enumerate(summary.obs.columns):
        if not _texts(summary.obs.iloc[:, i]).equals(_texts(plain.obs.iloc[:, i])):
            return f"differs in column {name}"
    rows = summary.sample.toarray()
    if rows.shape[0] == counts.shape[0] and not np.array_equal(rows, counts.astype(np.float32), equal_nan=True):
        return "differs in counts"
    return "agrees"


def _texts(column: pd.Series) -> pd.Series:
    values = column.astype(object)
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
    return pd.Series(texts, dtype=object).where(values.notna().to_numpy(), "no value")


def _counts(plain: ad.AnnData, place: str) -> np.ndarray:
    matrix = plain.X if place == "X" else plain.raw.X if place == "raw" else plain.layers[place.partition("/")[2]]
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)


def carry(path: Path, valid: intake.Summary, side: Side, n_top_genes: int, secret: str, report: Report) -> None:
    """Prepare an input with a valid file as the other side; reports as ``look`` does, and ``carried`` in between."""
    own, other = _settings(intake.read_summary(path)), _settings(valid)
    reference, query = (own, other) if side == "reference" else (other, own)
    try:
        params = RunParams(reference=reference, query=query, prepare=PrepareParams(n_top_genes=n_top_genes))
        with tempfile.TemporaryDirectory() as folder:
            prepare(params, Path(folder), report=lambda sentence: None)
            report("carried")
            report(_prepared(ad.read_h5ad(Path(folder) / "prepared.h5ad"), path, side))
    except LabelTransferError as error:
        report(_refused(error, path, secret))


def _settings(summary: intake.Summary) -> SideParams:
    """The settings that the Data page suggests for a file; decimals are rounded."""
    found = intake.guess(summary)
    batch = next(iter(found.batch), None)
    return SideParams(path=str(summary.path), labels_key=found.labels_key, batch_key=batch, non_integer="round")


def _prepared(prepared: ad.AnnData, path: Path, side: Side) -> str:
    """Compare one side of ``prepared.h5ad`` with whole counts made from anndata's reading of the input."""
    try:
        plain = ad.read_h5ad(path)
        place = intake.read_summary(path).counts
        names = pd.Index((plain.raw.var if place == "raw" else plain.var).index.astype(str)).str.strip()
        counts = np.rint(_counts(plain, place).astype(np.float32))
    except Exception:  # noqa: BLE001  as above
        return "nothing to compare"
    if not plain.obs_names.is_unique:
        return "nothing to compare"
    first = {name: at for at, name in reversed([*enumerate(names)])}
    expected = counts[:, [first[gene] for gene in prepared.var_names]]
    own = (prepared.obs["side"] == side).to_numpy()
    cells = plain.obs_names.astype(str).get_indexer(prepared.obs["cell_id"][own].astype(str))
    if (cells < 0).any() or not np.array_equal(prepared.layers["counts"][own].toarray(), expected[cells]):
        return "differs in prepared counts"
    left_out = np.setdiff1d(np.arange(plain.n_obs), cells)
    if side == "query" and expected[left_out].any():
        return "differs in the cells left out"
    return "agrees"
