"""What a transfer from Python gives back."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    import pandas as pd

    from labeltransfer.api.inputs import PathLike
    from labeltransfer.runs.records.run import Run

OF_THE_INPUT = ("cell_id", "observed_label", "side", "technology", "batch", "run_id")
"""Columns of the predictions that say nothing new about a cell of the query."""


@dataclass(frozen=True, eq=False, repr=False)
class Transfer:
    """A finished transfer, made by :func:`labeltransfer.transfer`.

    Attributes
    ----------
    query
        The query's AnnData: a copy with all its cells and genes, in their order. ``obs`` has ``predicted_label``,
        ``confidence``, ``second_label``, ``distance_percentile``, ``consensus_label`` and their like, in place of
        columns of the same names; ``obsm`` has ``X_scVI``, ``X_scANVI`` and ``X_mde``, the map of the latter. They are
        NaN for cells that a filter or a lack of counts left out.
    labels
        A row for each labelled cell, as ``predictions.csv`` has it.
    scores
        ``accuracy``, ``macro_f1``, ``n_correct``, ``n_scored`` and more over the query's cells whose observed label
        the reference has; None where there are none.
    alarm
        Why the labels as a whole should be doubted, in words; None where nothing says so.
    run
        The run on disk. Without a home of its own it goes when this object does.
    """

    run: "Run"
    _source: "ad.AnnData | Path" = field()

    @cached_property
    def query(self) -> "ad.AnnData":
        """The query's AnnData with labels, confidence, latents and map."""
        import numpy as np
        import pandas as pd

        from labeltransfer.api.inputs import read

        adata = read(self._source) if isinstance(self._source, Path) else self._source
        rows = self._rows
        for name, column in self.labels.drop(columns=list(OF_THE_INPUT), errors="ignore").items():
            filled = pd.Series(column.array, index=rows).reindex(range(adata.n_obs))
            adata.obs[str(name)] = filled.array
        own = (self._cells["side"] == "query").to_numpy()
        whole = self.run.whole_artefacts
        latents = {"X_scVI": whole.scvi_latent, "X_scANVI": whole.scanvi_latent}
        found = {key: np.load(path)[own] for key, path in latents.items()}
        found["X_mde"] = self._cells.loc[own, ["scanvi_1", "scanvi_2"]].to_numpy()
        for key, values in found.items():
            adata.obsm[key] = np.full((adata.n_obs, values.shape[1]), np.nan, np.float32)
            adata.obsm[key][rows] = values
        return adata

    @cached_property
    def labels(self) -> "pd.DataFrame":
        """A row for each labelled cell of the query."""
        from labeltransfer.results.export.predictions import predictions
        from labeltransfer.results.trust.rejection import Rule

        return predictions(self._cells, self.run.id, rule=Rule(confidence=self.run.params.reject_below or 0.0))

    @cached_property
    def scores(self) -> dict[str, Any] | None:
        """Scores over the query's cells with a known observed label."""
        from labeltransfer.runs.output.deliver import run_metrics

        scores: dict[str, Any] = run_metrics(self.run)["query"]
        return scores if scores["n_scored"] else None

    @cached_property
    def alarm(self) -> str | None:
        """Why the labels as a whole should be doubted."""
        from labeltransfer.runs.output.deliver import ALARMS
        from labeltransfer.storage.files import read_json

        found = read_json(self.run.whole_artefacts.trust)["alarm"]
        reasons = " ".join(found["reasons"])
        return f"{ALARMS[found['level']]}: {reasons}" if reasons else None

    def report(self, path: "PathLike") -> Path:
        """Write the report, one HTML file with figures, scores and methods; returns its path."""
        from labeltransfer.runs.output.supplement import report_html
        from labeltransfer.storage.files import write_atomic

        write_atomic(Path(path), report_html(self.run))
        return Path(path)

    def __repr__(self) -> str:
        n_labels = self.labels["predicted_label"].nunique()
        parts = [f"{len(self.labels):,} query cells with {n_labels:,} labels"]
        if self.scores:
            parts.append(f"accuracy {self.scores['accuracy']:.3f} over {self.scores['n_scored']:,} cells")
        return f"<Transfer: {'; '.join([*parts, self.alarm or 'no alarm', f'run {self.run.id}'])}>"

    @cached_property
    def _cells(self) -> "pd.DataFrame":
        """The run's table of cells, of both sides."""
        import pandas as pd

        return pd.read_parquet(self.run.whole_artefacts.cells)

    @cached_property
    def _rows(self) -> "np.ndarray":
        """Place of each labelled cell among the query's cells, shape (n_labelled,)."""
        from labeltransfer.data.prepare.sides import choose_cells
        from labeltransfer.formats import open_input

        side = self.run.params.query
        with open_input(Path(side.path)) as opened:
            obs = opened.obs()
        rows, _, _ = choose_cells(obs, side, "query", lambda sentence: None)
        kept = self.labels["cell_id"].astype(str)
        if len(rows) > len(kept) and not obs.index[rows].is_unique:
            rows = rows[self._have_counts(rows)]
            if len(rows) != len(kept):
                raise InputError(
                    f"{len(kept):,} labels belong to {len(rows):,} cells of the query of which several share a name: "
                    "make the names unique (adata.obs_names_make_unique()) and transfer again, or use .labels."
                )
        return rows[matched(obs.index[rows].astype(str), kept)]

    def _have_counts(self, rows: "np.ndarray") -> "np.ndarray":
        """Whether cells of the query's file, shape (n_rows,), have a count in the genes of the run."""
        import numpy as np
        import pandas as pd

        from labeltransfer.data.intake import gene_index, read_summary
        from labeltransfer.data.prepare.prepared import read_genes
        from labeltransfer.formats import open_input
        from labeltransfer.storage.files import read_json

        side = self.run.params.query
        place = read_json(self.run.artefacts.summary)["query"]["counts"]
        genes = read_genes(self.run.artefacts.prepared).index
        names = pd.Index(gene_index(read_summary(side.path, counts=place), side.gene_names))
        columns = np.flatnonzero(names.isin(genes) & ~names.duplicated())
        with open_input(Path(side.path)) as opened:
            return np.asarray(opened.rows(place, rows)[:, columns].sum(axis=1)).ravel() > 0


def matched(wanted: "pd.Index", kept: "pd.Series") -> "np.ndarray":
    """Place among the wanted cells of each kept one, by name; both are in the same order.

    Cells without a count in shared genes are among the wanted alone.
    """
    import numpy as np

    if len(wanted) == len(kept):
        return np.arange(len(kept))
    places, at = [], 0
    for name in kept:
        while wanted[at] != name:
            at += 1
        places.append(at)
        at += 1
    return np.array(places, int)
