"""The demo pair: simulated mouse bone marrow, a Smart-seq2 reference and a 10x query.

Shaped like Tabula Muris: the same obs columns, other tissues, males and cells without a label besides the female marrow
cells, labels of two resolutions, and states that only one side has. Marker genes carry their real symbols; every other
gene has an invented one. The state that each cell was drawn from is kept in ``true_state``.
"""

import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from filelock import FileLock

from labeltransfer.data.demo.expression import (
    DROPLET,
    SMART_SEQ2,
    cell_expression,
    gene_names,
    marker_genes,
    simulate_counts,
    state_rates,
)
from labeltransfer.data.demo.states import CELL_ONTOLOGY, STATES
from labeltransfer.errors import RunError
from labeltransfer.params import RunParams, run_params
from labeltransfer.presets import PRESETS
from labeltransfer.storage import kept
from labeltransfer.storage.files import move_into_place
from labeltransfer.storage.home import home

REFERENCE, QUERY, LENGTHS = "reference.h5ad", "query.h5ad", "gene_len.txt"
LABELS_KEY = "cell_ontology_class"


def simulate(
    folder: Path, *, n_reference: int = 1200, n_query: int = 2400, n_genes: int = 2500, seed: int = 0
) -> tuple[Path, Path]:
    """Write the demo pair and a gene-length table next to it.

    Counts are negative binomial around a state's expression, blended with that of a related state by a share that
    differs from cell to cell: sister types shade into each other, as they do in marrow.

    Parameters
    ----------
    folder
        Where ``reference.h5ad``, ``query.h5ad`` and ``gene_len.txt`` go; made if needed.
    n_reference, n_query
        Labelled cells of female marrow on each side; about a quarter more that a filter leaves out come on top.
    n_genes
        Genes of the simulation, at least 500; each file lacks about 2 % of them.
    seed
        Same seed and sizes, same data.

    Returns
    -------
    Paths of the reference and of the query.

    Raises
    ------
    ValueError
        ``n_genes`` leaves no room for the marker genes.
    """
    if n_genes < 500:
        raise ValueError(f"n_genes is {n_genes}: the demo needs at least 500.")
    rng = np.random.default_rng(seed)
    genes = gene_names(n_genes, rng)
    rates = state_rates(genes, rng)
    lengths = rng.lognormal(np.log(2000), 0.7, n_genes).clip(200, 30_000).round()
    folder.mkdir(parents=True, exist_ok=True)

    targets = folder / REFERENCE, folder / QUERY
    for path, technology, n_cells in zip(targets, (SMART_SEQ2, DROPLET), (n_reference, n_query), strict=True):
        obs, states = simulate_obs(n_cells, reference=path.name == REFERENCE, rng=rng)
        bias = rng.lognormal(0, 0.5, n_genes)
        if technology.counts_by_length:
            bias *= lengths / np.median(lengths)
        expression = cell_expression(states, obs["sex"].to_numpy() == "female", rates, genes, rng)
        counts = simulate_counts(expression, bias, technology, rng)
        present = rng.random(n_genes) > 0.02
        present[genes.isin(marker_genes())] = True
        adata = ad.AnnData(counts[:, present], obs=obs, var=pd.DataFrame(index=genes[present]))
        adata.uns["source"] = f"simulated by labeltransfer, seed {seed}"
        adata.write_h5ad(path, compression="gzip")

    known = rng.random(n_genes) > 0.03
    table = pd.Series(lengths, index=genes)[known]
    (folder / LENGTHS).write_text("".join(f"{gene} {length:.0f}\n" for gene, length in table.items()))
    return targets


def demo_params(folder: Path | None = None) -> RunParams:
    """Settings for the demo pair in ``folder`` (by default the app's own): quick, female marrow, lengths normalised."""
    folder = folder or home() / "demo"
    female_marrow = {"labels_key": LABELS_KEY, "filters": {"tissue": ["Marrow"], "sex": ["female"]}}
    return run_params(
        {
            "name": "Demo: simulated marrow",
            "reference": {"path": str(folder / REFERENCE), "technology": SMART_SEQ2.name, **female_marrow},
            "query": {"path": str(folder / QUERY), "technology": DROPLET.name, **female_marrow},
            "prepare": {
                "length_normalize": "reference",
                "gene_lengths": str(folder / LENGTHS),
                "n_top_genes": 1000,
            },
            **PRESETS["quick"],
        }
    )


def ensure_demo() -> RunParams:
    """Settings for the demo pair, which is simulated at the first call, and again where it was damaged since.

    Raises
    ------
    RunError
        The app's folder cannot be written to.
    """
    folder = home() / "demo"
    names = (REFERENCE, QUERY, LENGTHS)
    with FileLock(home() / "demo.lock"):
        if not all(kept.is_whole(folder / name) for name in names):
            try:
                folder.mkdir(exist_ok=True)
                with tempfile.TemporaryDirectory(dir=folder) as building:
                    simulate(Path(building))
                    for name in names:
                        move_into_place(Path(building, name), folder / name)
                        kept.seal(folder / name)
            except OSError as error:
                raise RunError(f"The demo data cannot be kept in {folder} ({error}): free some space.") from error
    return demo_params()


def allot(n_cells: int, weights: list[float]) -> np.ndarray:
    """State of each cell, in proportion to ``weights`` as closely as whole cells allow, shape (n_cells,)."""
    share = np.array(weights) / sum(weights) * n_cells
    whole = np.floor(share).astype(int)
    whole[np.argsort(whole - share, kind="stable")[: n_cells - whole.sum()]] += 1
    return np.repeat(np.arange(len(weights)), whole)


def simulate_obs(n_cells: int, *, reference: bool, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Annotation of one side, cells in random order, and the state of each cell as an index into ``STATES``."""
    marrow = [s.reference_share if reference else s.query_share for s in STATES]
    spleen = [w if s.in_spleen else 0.0 for s, w in zip(STATES, marrow, strict=True)]
    parts = [
        ("Marrow", "female", True, allot(n_cells, marrow)),
        ("Marrow", "female", False, allot(n_cells // 20, marrow)),
        ("Marrow", "male", True, allot(n_cells // 12, marrow)),
        ("Spleen", "female", True, allot(n_cells // 12, spleen)),
        ("Spleen", "male", True, allot(n_cells // 24, spleen)),
    ]
    states = np.concatenate([part[-1] for part in parts])
    column = [np.repeat([part[k] for part in parts], [part[-1].size for part in parts]) for k in range(3)]
    order = rng.permutation(states.size)
    states, (tissue, sex, labelled) = states[order], (values[order] for values in column)

    labels = np.array([s.reference_label if reference else s.query_label for s in STATES], dtype=object)[states]
    labels[~labelled.astype(bool)] = np.nan
    age = rng.choice(["3m", "18m", "24m"], states.size)
    mouse = [f"{a}-{s[0].upper()}-{k}" for a, s, k in zip(age, sex, rng.integers(50, 54, states.size), strict=True)]
    columns = {
        "tissue": tissue,
        "sex": sex,
        "age": age,
        "mouse.id": mouse,
        LABELS_KEY: labels,
        "cell_ontology_id": pd.Series(labels, dtype=object).map(CELL_ONTOLOGY).to_numpy(),
        "true_state": np.array([s.name for s in STATES], dtype=object)[states],
    }
    prefix = "plate" if reference else "droplet"
    names = pd.Index([f"{prefix}_{i:06d}" for i in range(states.size)])
    return pd.DataFrame({key: pd.Categorical(values) for key, values in columns.items()}, index=names), states
