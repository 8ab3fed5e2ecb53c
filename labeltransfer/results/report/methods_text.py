"""The methods paragraph of a report, written from what a run was asked for and what it did, and what it cites."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeltransfer.params import RunParams
from labeltransfer.presets import scanvi_pace, scvi_pace
from labeltransfer.results.report.script import USUAL_SPAN, epochs_kept, n_trained_on, ranking_of

SENIS = ("tabula-muris-senis", "23938934", "23939711")
"""What the names of the catalogue's Tabula Muris Senis files contain."""


@dataclass(frozen=True)
class Citation:
    """A work that a methods paragraph cites; ``short`` is in the paragraph, ``full`` in the list."""

    short: str
    full: str
    url: str


# fmt: off
CITATIONS: dict[str, Citation] = {
    "scvi": Citation("Lopez et al., 2018", "Lopez R, Regier J, Cole MB, Jordan MI, Yosef N. Deep generative modeling for single-cell transcriptomics. Nature Methods 15, 1053–1058 (2018).", "https://doi.org/10.1038/s41592-018-0229-2"),  # noqa: E501
    "scanvi": Citation("Xu et al., 2021", "Xu C, Lopez R, Mehlman E, Regier J, Jordan MI, Yosef N. Probabilistic harmonization and annotation of single-cell transcriptomics data with deep generative models. Molecular Systems Biology 17, e9620 (2021).", "https://doi.org/10.15252/msb.20209620"),  # noqa: E501
    "scarches": Citation("Lotfollahi et al., 2022", "Lotfollahi M, Naghipourfar M, Luecken MD, et al. Mapping single-cell data to reference atlases by transfer learning. Nature Biotechnology 40, 121–130 (2022).", "https://doi.org/10.1038/s41587-021-01001-7"),  # noqa: E501
    "scvi-tools": Citation("Gayoso et al., 2022", "Gayoso A, Lopez R, Xing G, et al. A Python library for probabilistic analysis of single-cell omics data. Nature Biotechnology 40, 163–166 (2022).", "https://doi.org/10.1038/s41587-021-01206-w"),  # noqa: E501
    "scverse": Citation("Virshup et al., 2023", "Virshup I, Bredikhin D, Heumos L, et al. The scverse project provides a computational ecosystem for single-cell omics data analysis. Nature Biotechnology 41, 604–606 (2023).", "https://doi.org/10.1038/s41587-023-01733-8"),  # noqa: E501
    "scanpy": Citation("Wolf et al., 2018", "Wolf FA, Angerer P, Theis FJ. SCANPY: large-scale single-cell gene expression data analysis. Genome Biology 19, 15 (2018).", "https://doi.org/10.1186/s13059-017-1382-0"),  # noqa: E501
    "seurat": Citation("Stuart et al., 2019", "Stuart T, Butler A, Hoffman P, et al. Comprehensive integration of single-cell data. Cell 177, 1888–1902 (2019).", "https://doi.org/10.1016/j.cell.2019.05.031"),  # noqa: E501
    "residuals": Citation("Lause et al., 2021", "Lause J, Berens P, Kobak D. Analytic Pearson residuals for normalization of single-cell RNA-seq UMI data. Genome Biology 22, 258 (2021).", "https://doi.org/10.1186/s13059-021-02451-7"),  # noqa: E501
    "mde": Citation("Agrawal et al., 2021", "Agrawal A, Ali A, Boyd S. Minimum-distortion embedding. Foundations and Trends in Machine Learning 14, 211–378 (2021).", "https://doi.org/10.1561/2200000090"),  # noqa: E501
    "singler": Citation("Aran et al., 2019", "Aran D, Looney AP, Liu L, et al. Reference-based analysis of lung single-cell sequencing reveals a transitional profibrotic macrophage. Nature Immunology 20, 163–172 (2019).", "https://doi.org/10.1038/s41590-018-0276-y"),  # noqa: E501
    "celltypist": Citation("Domínguez Conde et al., 2022", "Domínguez Conde C, Xu C, Jarvis LB, et al. Cross-tissue immune cell analysis reveals tissue-specific features in humans. Science 376, eabl5197 (2022).", "https://doi.org/10.1126/science.abl5197"),  # noqa: E501
    "temperature": Citation("Guo et al., 2017", "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. Proceedings of the 34th International Conference on Machine Learning, PMLR 70, 1321–1330 (2017).", "https://proceedings.mlr.press/v70/guo17a.html"),  # noqa: E501
    "ontology": Citation("Diehl et al., 2016", "Diehl AD, Meehan TF, Bradford YM, et al. The Cell Ontology 2016: enhanced content, modularization, and ontology interoperability. Journal of Biomedical Semantics 7, 44 (2016).", "https://doi.org/10.1186/s13326-016-0088-7"),  # noqa: E501
    "senis": Citation("Tabula Muris Consortium, 2020", "The Tabula Muris Consortium. A single-cell transcriptomic atlas characterizes ageing tissues in the mouse. Nature 583, 590–595 (2020).", "https://doi.org/10.1038/s41586-020-2496-1"),  # noqa: E501
}
# fmt: on

WORDS = {
    "log_regression": "logistic regression on log counts",
    "rank_regression": "logistic regression on ranks of marker genes",
    "correlation": "rank correlation with labelled cells over marker genes, as in SingleR ({singler})",
    "profiles": "multinomial profiles with gene factors learnt from the query",
    "regression": "logistic regression on standardised genes, as in CellTypist ({celltypist})",
    "knn": "k nearest neighbours on the {latent} latent",
    "forest": "a random forest on the {latent} latent",
}
"""The classifiers next to scANVI, by name, as the paragraph says them."""


def methods(
    params: RunParams,
    *,
    summary: Mapping[str, Any],
    history: list[dict[str, Any]],
    trust: Mapping[str, Any],
    versions: Mapping[str, str],
) -> tuple[str, list[Citation]]:
    """The paragraph as plain text, and the works cited in it in their order.

    Parameters
    ----------
    params
        What was asked of the run.
    summary
        ``summary.json`` of its prepared counts; empty where the run was kept without them.
    history
        Events ``epoch`` and ``stopped`` of both trainings.
    trust
        ``trust.json``; empty where the run has none.
    versions
        Versions of packages.
    """
    cited: list[Citation] = []

    def cite(key: str) -> str:
        if CITATIONS[key] not in cited:
            cited.append(CITATIONS[key])
        return CITATIONS[key].short

    tools = f"scvi-tools {versions.get('scvi-tools', '')}".strip()
    if params.mapping:
        parts = [*_data(params, summary, cite), *_mapping(params, summary, history, tools, cite)]
    else:
        parts = [*_data(params, summary, cite), *_genes(params, summary, cite)]
        parts += _training(params, summary, history, tools, cite)
    parts.append(
        f"Each latent was laid out in two dimensions by minimum-distortion embedding ({cite('mde')}) with "
        f"{params.embed.n_neighbors} neighbours per cell and {params.embed.repulsive_fraction:g} pairs pushed apart "
        "per pair kept close."
    )
    parts += _trust(trust, cite, latent="scANVI" if params.mapping else "scVI")
    if params.reject_below:
        parts.append(f"Labels with a confidence below {params.reject_below:g} were exported as Unknown.")
    return " ".join(parts), cited


def _data(params: RunParams, summary: Mapping[str, Any], cite: Any) -> list[str]:
    parts = [
        "Cell-type labels were carried from an annotated reference to a query with labeltransfer, which builds on the "
        f"scverse ({cite('scverse')})."
    ]
    for title, asked, side in (
        ("The reference", params.reference, summary.get("reference", {})),
        ("The query", params.query, summary.get("query", {})),
    ):
        kept = f" {side['n_cells']:,} of {side['n_cells_in_file']:,} cells" if side else " the cells"
        by = "; ".join(f"{column} = {' or '.join(values)}" for column, values in asked.filters.items())
        named = side.get("technology") or asked.technology
        technology = f", {named}" if named else ""
        senis = any(mark in asked.path for mark in SENIS)
        atlas = f" from Tabula Muris Senis ({cite('senis')})" if senis else ""
        what = f"{title} ({Path(asked.path).name}{technology}){atlas}"
        parts.append(f"{what} contributed{kept}{f' ({by})' if by else ''}.")
    return parts


def _genes(params: RunParams, summary: Mapping[str, Any], cite: Any) -> list[str]:
    prepare, parts = params.prepare, []
    if prepare.length_normalize != "none":
        missing = summary.get(prepare.length_normalize, {}).get("n_genes_without_length")
        without = f"; {missing:,} genes without a length were left out" if missing is not None else ""
        parts.append(
            f"Counts of the {prepare.length_normalize}, a full-length protocol's, were divided by gene length, matched "
            f"by gene name, scaled by the median length and rounded to integers{without}."
        )
    genes = summary.get("genes", {})
    n_shared, n_chosen = genes.get("n_shared"), genes.get("n_chosen", prepare.n_top_genes)
    if n_shared is not None and n_chosen >= n_shared:
        parts.append(f"All {n_shared:,} genes that both sides share were used.")
        return parts + _without_counts(summary)
    among = f" of the {n_shared:,} genes that both sides share" if n_shared is not None else ""
    ranking = ranking_of(params, summary)
    within = "over all cells" if ranking["within"] == "none" else f"within each {ranking['within']}"
    if ranking["method"] == "seurat_v3":
        how = f"by the seurat_v3 method ({cite('seurat')})"
        wider = ranking["span"] != USUAL_SPAN
        span = f", with a span of {ranking['span']:g} for its trend of variance over mean" if wider else ""
    else:
        how = f"by the variance of their Pearson residuals ({cite('residuals')})"
        span = ", since the trend of the seurat_v3 method could not be fitted"
    parts.append(
        f"The {n_chosen:,} most variable{among} were chosen {how} as implemented in scanpy ({cite('scanpy')}), ranked "
        f"{within}{span}."
    )
    return parts + _without_counts(summary)


def _without_counts(summary: Mapping[str, Any]) -> list[str]:
    n_cells = sum(summary.get(side, {}).get("n_without_chosen", 0) for side in ("reference", "query"))
    were = "cells without a count in these genes were" if n_cells > 1 else "cell without a count in these genes was"
    return [f"{n_cells:,} {were} left out of training."] if n_cells else []


def _training(
    params: RunParams, summary: Mapping[str, Any], history: list[dict[str, Any]], tools: str, cite: Any
) -> list[str]:
    first, second = params.integrate, params.transfer
    own = "a training loop of labeltransfer's that computes the same objective"
    loops = {loop: own if loop == "fast" else "scvi-tools' own training loop" for loop in ("fast", "scvi-tools")}
    paced = ["", ""]
    if summary.get("reference") and summary.get("query"):
        n_cells = n_trained_on(summary)
        paces = scvi_pace(first, n_cells=n_cells), scanvi_pace(second, n_cells=n_cells)
        paced = [f", {pace.batch_size} cells per step and a learning rate of {pace.lr:.3g}" for pace in paces]
    epochs = [
        f"for {max(e['epoch'] for e in history if e.get('stage') == stage and e['event'] == 'epoch')} epochs"
        + (f" (weights of epoch {epochs_kept(history, stage)} kept)" if _stopped(history, stage) else "")
        if any(e.get("stage") == stage and e["event"] == "epoch" for e in history)
        else "for a number of epochs that was not kept"
        for stage in ("integrate", "transfer")
    ]
    layers = "layer" if first.n_layers == 1 else "layers"
    drawn = f", {second.n_samples_per_label} labelled cells of each label drawn anew in each epoch"
    return [
        f"A scVI model ({cite('scvi')}; {tools}, {cite('scvi-tools')}) with {first.n_layers} hidden {layers} of "
        f"{first.n_hidden} nodes, {first.n_latent} latent dimensions, a {first.gene_likelihood} likelihood and "
        f"dispersion per {first.dispersion} was trained on both sides, the sides and their batches as batch, "
        f"{epochs[0]} in {loops[first.loop]}{paced[0]}.",
        f"From it a scANVI model ({cite('scanvi')}) was trained {epochs[1]} in {loops[second.loop]}{paced[1]}"
        f"{drawn if second.n_samples_per_label else ''}; the query's own labels were not shown to it. "
        f"The seed was {params.seed}.",
    ]


def _mapping(
    params: RunParams, summary: Mapping[str, Any], history: list[dict[str, Any]], tools: str, cite: Any
) -> list[str]:
    """How a query was mapped; how its reference was trained is for that reference's own methods to say."""
    first, genes = params.integrate, summary.get("genes", {})
    epochs = max((e["epoch"] for e in history if e["event"] == "epoch" and e.get("stage") == "transfer"), default=None)
    name = params.mapping.reference if params.mapping else ""
    parts = []
    if params.prepare.length_normalize == "query":
        parts.append(
            "Counts of the query, a full-length protocol's, were divided by gene length, matched by gene name."
        )
    if genes:
        n_found = genes["n_chosen"] - genes["n_padded"]
        parts.append(
            f"The query has {n_found:,} of the {genes['n_chosen']:,} genes of the reference's model; the others were "
            "set to zero."
        )
        parts += _without_counts(summary)
    took = f" for {epochs} epochs" if epochs else ""
    parts.append(
        f"The query was mapped onto the published reference '{name}', a scANVI model ({cite('scvi')}; "
        f"{cite('scanvi')}) with {first.n_layers} hidden layers of {first.n_hidden} nodes and {first.n_latent} latent "
        f"dimensions that had been trained on the reference alone, by architecture surgery ({cite('scarches')}) in "
        f"{tools} ({cite('scvi-tools')}): only weights of the query's batches were trained{took}, without weight "
        f"decay, and no label of the query was shown. The seed was {params.seed}."
    )
    return parts


def _stopped(history: list[dict[str, Any]], stage: str) -> bool:
    return any(event["event"] == "stopped" and event.get("stage") == stage for event in history)


def _classifier(words: str, cite: Any, latent: str) -> str:
    cited = {key: cite(key) for key in ("singler", "celltypist") if f"{{{key}}}" in words}
    return words.format(latent=latent, **cited)


def _trust(trust: Mapping[str, Any], cite: Any, *, latent: str) -> list[str]:
    parts = []
    methods = trust.get("methods", {})
    own = methods.get("scanvi") or {}
    if own.get("n_cells"):
        parts.append(
            f"Probabilities were calibrated by temperature scaling ({cite('temperature')}) on {own['n_cells']:,} "
            f"held-out reference cells (scANVI's temperature: {own['temperature']:.2f})."
        )
    others = [_classifier(WORDS[name], cite, latent) for name in methods if name in WORDS]
    if others:
        parts.append(f"On the same reference cells were trained: {'; '.join(others)}.")
    if trust.get("answer") == "consensus":
        parts.append(
            "A cell's predicted label is the one with the highest mean probability over "
            f"{len(trust.get('voters', ()))} classifiers, scANVI among them, each weighed by the square of its "
            "accuracy on held-out cells."
        )
    elif trust:
        parts.append("A cell's predicted label is the one that scANVI finds most probable.")
    if trust.get("ontology"):
        parts.append(f"Observed and predicted labels were compared in the Cell Ontology ({cite('ontology')}).")
    return parts
