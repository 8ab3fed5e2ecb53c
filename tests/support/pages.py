"""Pages of the app as tests open them, and a finished run made by hand for them."""

import time
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from streamlit.testing.v1 import AppTest

from labeltransfer.params import RunParams, SideParams
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import cell_table
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import default_store
from labeltransfer.storage import files
from tests.support import ROOT
from tests.support.builders import opinions_of, trust_of, unseal

PAGES = ("data", "preprocess", "train", "explore", "compare", "export", "references", "runs")
N_REFERENCE, N_QUERY = 20, 30
LABELS = ["B cell", "T cell"]
AUTH = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "of a test, forty characters of it, no more",
    "client_id": "labeltransfer",
    "client_secret": "x",
    "server_metadata_url": "http://localhost/.well-known/openid-configuration",
}
"""The section ``[auth]`` of secrets that are complete."""


def app(page: str = "data", **query: str) -> AppTest:
    """The app on one of its pages."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    return at if page == "data" else at.switch_page(f"pages/{page}.py").run()


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return at.run()


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def said(at: AppTest) -> str:
    """All prose of a page."""
    elements = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.title, *at.subheader]
    return "\n".join(str(element.value) for element in elements).replace("\\", "").replace("\u2060", "")


def finished_run(*, labelled: bool = True, counts: bool = True) -> Run:
    """A finished run with artefacts made by hand: every third query cell is a T cell that was called a B cell."""
    params = RunParams(
        reference=SideParams(path="r.h5ad", technology="Smart-seq2"), query=SideParams(path="q.h5ad", technology="10x")
    )
    store = default_store()
    run = store.create(params)
    n_cells = N_REFERENCE + N_QUERY
    is_query = np.arange(n_cells) >= N_REFERENCE
    is_t = np.arange(n_cells) % 3 == 0
    observed = pd.Series(np.where(is_t, "T cell", "B cell"), dtype=object)
    observed[is_query & (np.arange(n_cells) % 10 == 9)] = "plasma cell"
    observed[is_query & ((np.arange(n_cells) % 10 == 8) | (not labelled))] = None
    observed_categories = pd.Categorical(observed)
    matrix = np.random.default_rng(0).poisson(1.0, (n_cells, 4))
    obs = pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(n_cells)],
            "side": pd.Categorical(np.where(is_query, "query", "reference")),
            "technology": pd.Categorical(np.where(is_query, "10x", "Smart-seq2")),
            "batch": pd.Categorical(np.where(is_query, "10x", "Smart-seq2")),
            "observed_label": observed_categories,
            "training_label": pd.Categorical(observed.where(~is_query, "Unknown")),
            "n_counts": matrix.sum(axis=1) + 1.0,
            "n_genes": (matrix > 0).sum(axis=1),
            "obs.sex": pd.Categorical(["female", "male"] * (n_cells // 2)),
            "obs.tissue": "Marrow",
        },
        index=[f"unique{i}" for i in range(n_cells)],
    )
    calls_t = is_t & ~is_query
    soft = pd.DataFrame({"B cell": np.where(calls_t, 0.1, 0.8), "T cell": np.where(calls_t, 0.9, 0.2)}, index=obs.index)
    points = np.random.default_rng(1).normal(size=(n_cells, 2))
    cells = cell_table(obs, opinions_of(soft), mde_scvi=points, mde_scanvi=points)
    for stage in ("prepare", "integrate", "transfer", "evaluate"):
        if stage != "evaluate" and not counts:
            continue
        store.claim_stage(run, stage, run.id)
        with store.build_stage(run, stage, run.id) as folder:
            if stage == "prepare":
                var = pd.DataFrame(
                    {"highly_variable": True, "highly_variable_rank": [3.0, 0.0, 2.0, 1.0]},
                    index=["Actb", "Cd3e", "Elane", "Ms4a1"],
                )
                layers = {"counts": sp.csc_matrix(matrix, dtype=np.float32)}
                ad.AnnData(obs=obs, var=var, layers=layers).write_h5ad(folder / "prepared.h5ad")
            elif stage == "evaluate":
                cells.to_parquet(folder / "cells.parquet")
                files.write_json(folder / "metrics.json", evaluate.metrics(cells))
                files.write_json(folder / "trust.json", trust_of(cells, soft))
            else:
                (folder / "model").mkdir()
                np.save(folder / "latent.npy", points)
                soft.to_parquet(folder / "soft.parquet")
    run.write_status(Status(state="done", created=time.time()))
    unseal(run)
    return run


def page(name: str, run: Run, seeded: dict[str, Any] | None = None) -> AppTest:
    """One page of the app with a run open, after ``seeded`` selections."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params["run"] = run.id
    for key, value in (seeded or {}).items():
        at.session_state[key] = value
    at.run()
    at.switch_page(f"pages/{name}.py").run()
    assert not at.exception
    return at


def pick_control(at: AppTest, label: str) -> Any:
    return next(control for control in at.get("button_group") if control.label == label)
