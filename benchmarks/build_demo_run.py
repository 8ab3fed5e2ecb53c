"""Rebuild the finished demo run that ships with the app: ``python -m benchmarks.build_demo_run`` (or ``make demo``).

Carries out the demo's own settings and keeps only the tables: no models, no latents, and counts of the marker genes
only, so that the whole stays under 2 MB.
"""

import os
import shutil
import tempfile
from pathlib import Path

import anndata as ad

from labeltransfer.data.demo.simulate import ensure_demo
from labeltransfer.data.demo.states import PROGRAMMES
from labeltransfer.runs.records.checksums import seal
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED, default_store
from labeltransfer.runs.worker.work import work

TABLES = {
    "prepare": ["summary.json", "stage.json"],
    "integrate": ["history.json", "stage.json"],
    "embed_scvi": ["stage.json"],
    "transfer": ["history.json", "stage.json"],
    "embed_scanvi": ["stage.json"],
    "opinions": ["stage.json"],
    "evaluate": [
        "cells.parquet",
        "metrics.json",
        "trust.json",
        "terms.json",
        "audit.parquet",
        "audit.csv",
        "stage.json",
    ],
}
MOST_BYTES = 2_000_000


def keep_markers(source: Path, target: Path) -> None:
    """Copy ``prepared.h5ad`` with the marker genes alone; counts per cell stay those over all genes."""
    adata = ad.read_h5ad(source)
    markers = {gene for genes in PROGRAMMES.values() for gene in genes.split()}
    kept = adata[:, adata.var_names.isin(markers)].copy()
    kept.layers["counts"] = kept.layers["counts"].tocsc()
    kept.write_h5ad(target, compression="gzip")


def copy(source: Path, target: Path, *, place: Path) -> None:
    """Copy a table; inputs are named in it without their folder, which means nothing on another machine."""
    if source.suffix in (".json", ".jsonl"):
        target.write_text(source.read_text().replace(f"{place}{os.sep}", ""))
    else:
        shutil.copyfile(source, target)


def ship(run: Run, target: Path) -> None:
    """Copy the tables of a finished run into a store of one run, ``demo``."""
    shutil.rmtree(target, ignore_errors=True)
    folder = target / "runs" / "demo"
    folder.mkdir(parents=True)
    place = Path(run.params.reference.path).parent
    for name in ("params.json", "status.json", "stages.json", "events.jsonl"):
        copy(run.folder / name, folder / name, place=place)
    for stage, key in run.stage_keys().items():
        kept = target / "stages" / f"{stage}-{key}"
        kept.mkdir(parents=True)
        for name in TABLES[stage]:
            copy(run.artefact(stage, name), kept / name, place=place)
        if stage == "prepare":
            keep_markers(run.artefact(stage, "prepared.h5ad"), kept / "prepared.h5ad")
        seal(kept)


def main() -> None:
    """Simulate, run, keep, and say how large it is."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LABELTRANSFER_HOME"] = scratch
        run = default_store().create(ensure_demo())
        status = work(run)
        if status.state != "done":
            raise SystemExit(f"The demo run ended as {status.state}: {status.error}")
        ship(run, SHIPPED)
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    print(f"{SHIPPED}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"More than {MOST_BYTES:,} bytes: keep less.")


if __name__ == "__main__":
    main()
