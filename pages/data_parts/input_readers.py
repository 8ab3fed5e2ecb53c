"""What the Data page reads of the inputs, kept while files and settings stay the same."""

import json
from pathlib import Path

import pandas as pd

from labeltransfer.data import intake
from labeltransfer.data.catalogue.entries import CATALOGUE, CatalogueEntry, check_tutorial_subset
from labeltransfer.data.catalogue.fetch_request import cells, local_path, target
from labeltransfer.params import Side
from pages.shared.cached import reader, the_path
from pages.shared.draft import Draft

MOST_VALUES = 500


def load_summary(path: str, counts: str = "auto") -> intake.Summary:
    """What intake reads of a file, kept while the file stays the same; never change it."""
    return _summary(Path(path), counts)


@reader(the_path, max_entries=6, shared=True)
def _summary(path: Path, counts: str) -> intake.Summary:
    return intake.read_summary(path, counts=counts)


def report(path: str, side: Side, settings: str) -> list[intake.Finding]:
    """The input report of one side for its settings, which come as JSON."""
    return _report(Path(path), side, settings)


@reader(the_path, max_entries=64)
def _report(path: Path, side: Side, settings: str) -> list[intake.Finding]:
    asked = json.loads(settings)
    summary = _summary(path, asked.get("counts", "auto"))
    rows = intake.filter_rows(summary.obs, asked.get("filters", {}))
    found = intake.inspect(summary, side=side, labels_key=asked.get("labels_key"), rows=rows)
    return _published(summary) + found


def _published(summary: intake.Summary) -> list[intake.Finding]:
    """A warning where a file of the catalogue is not what was published; nothing for any other file."""
    entry = next((e for e in CATALOGUE.values() if summary.path in (local_path(e), _tutorial_cells(e))), None)
    differences = check_tutorial_subset(entry, summary.obs, n_genes=summary.n_genes) if entry else []
    if not differences:
        return []
    return [
        intake.Finding(
            "warning",
            "Not what was published",
            " ".join(differences),
            "The release may have changed: compare your results with the published ones with care.",
        )
    ]


def _tutorial_cells(entry: CatalogueEntry) -> Path:
    return target(entry, cells(entry.tutorial_filters))


def gene_report(held: Draft) -> list[intake.Finding]:
    """What comparing the two sides' genes shows."""
    reference, query = held.settings["reference"], held.settings["query"]
    return intake.compare_genes(
        load_summary(reference["path"], reference.get("counts", "auto")),
        load_summary(query["path"], query.get("counts", "auto")),
        reference_names=reference.get("gene_names"),
        query_names=query.get("gene_names"),
    )


def shared_cells(held: Draft) -> list[intake.Finding]:
    """A warning where both sides are the same file and share cells; nothing otherwise."""
    reference, query = held.settings["reference"], held.settings["query"]
    if Path(reference["path"]).resolve() != Path(query["path"]).resolve():
        return []
    rows = []
    for asked in (reference, query):
        obs = load_summary(asked["path"], asked.get("counts", "auto")).obs
        rows.append(intake.filter_rows(obs, asked.get("filters", {})))
    if key := reference.get("labels_key"):  # only labelled cells are taken as reference
        rows[0] &= ~intake.is_unlabelled(load_summary(reference["path"], reference.get("counts", "auto")).obs[key])
    n_both, n_query = int((rows[0] & rows[1]).sum()), int(rows[1].sum())
    if not n_both:
        return []
    return [
        intake.Finding(
            "warning",
            "The same cells are reference and query",
            f"Both sides are the same file, and {n_both:,} of the {n_query:,} query cells are in the reference too. "
            "scANVI is trained with their labels, so scores would say how well it fits, not how well it predicts.",
            "Choose another file, or filters that leave no cell on both sides.",
        )
    ]


def value_columns(obs: pd.DataFrame) -> list[str]:
    """Columns of text or categories, with few enough values to choose from."""
    found = []
    for name in obs.columns:
        column = obs[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            n_values = len(column.cat.categories)
        elif (
            pd.api.types.is_bool_dtype(column)
            or pd.api.types.is_object_dtype(column)
            or pd.api.types.is_string_dtype(column)
        ):
            n_values = column.nunique()
        else:
            continue
        if 1 <= n_values <= MOST_VALUES:
            found.append(str(name))
    return found
