"""The settings of a run (its params): every one with its bounds and a line of help.

Pages, the command line, Python and ``params.json`` all read these models; no default is written anywhere else.
``title`` is the plain name that a page shows, ``description`` the help that it shows on hover.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labeltransfer.errors import SettingsError

UNKNOWN = "Unknown"
"""scANVI's ``unlabeled_category``: the label of a cell whose type is to be predicted."""

Side = Literal["reference", "query"]

MOST_FAULTS = 12
"""Faults that one message lists."""


VoterName = Literal["log_regression", "rank_regression", "correlation", "profiles", "regression", "knn", "forest"]
"""Classifiers that are asked next to scANVI, in the order of tables; each is a file of the panel."""

Loop = Literal["scvi-tools", "fast"]
LOOP_HELP = (
    "fast: the same model and objective, several times quicker. "
    "scvi-tools: its own loop, equal to plain scvi-tools to the last bit."
)


def _batch_size() -> Any:
    about = "Minibatch size; empty lets the number of cells choose."
    return Field(128, ge=16, le=4096, title="Cells per step", description=about)


def _learning_rate() -> Any:
    about = "Step size of Adam; empty lets the number of cells per step choose."
    return Field(1e-3, ge=1e-5, le=1e-1, title="Learning rate", description=about)


def _patience(default: int) -> Any:
    return Field(default, ge=1, le=500, title="Patience in epochs", description="Only used with 'Stop early'.")


class Params(BaseModel):
    """Common behaviour: params never change after they are made, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SideParams(Params):
    """One of the two inputs: a file, which of its cells to take and which of its columns to read."""

    path: str = Field(title="File", description="The h5ad file.")
    technology: str = Field(
        "", title="Technology", description="Name of the sequencing technology, as shown in charts."
    )
    labels_key: str | None = Field(
        None, title="Label column", description="obs column with the cell types. Optional for the query."
    )
    batch_key: str | None = Field(
        None,
        title="Batch column",
        description="obs column that splits this file into batches beyond its technology, such as mouse or donor.",
    )
    filters: dict[str, tuple[str, ...]] = Field(
        {}, title="Filters", description="Keep cells whose obs column has one of these values; all columns must agree."
    )
    keep_unlabelled: bool = Field(
        True, title="Keep cells without a label", description="Query only: unlabelled cells get predictions as well."
    )
    counts: str = Field(
        "auto", title="Raw counts", description="Where the raw counts are: auto, X, raw, or layers/NAME."
    )
    gene_names: str | None = Field(
        None, title="Gene names", description="var column to match genes by; empty takes the var index."
    )
    non_integer: Literal["refuse", "round"] = Field(
        "refuse",
        title="Non-integer counts",
        description="scVI models counts. Rounding suits estimated counts (RSEM, Salmon); never log-transformed values.",
    )


class PrepareParams(Params):
    """From two files to one table of counts over the genes that both have."""

    length_normalize: Literal["none", "reference", "query"] = Field(
        "none",
        title="Normalise by gene length",
        description="Divides the counts of this side by gene length. Full-length protocols such as Smart-seq2 count "
        "long genes more often; UMI protocols do not.",
    )
    gene_lengths: str | None = Field(
        None,
        title="Gene-length table",
        description="File with a gene and a length on each line; empty takes the tutorial's mouse table.",
    )
    n_top_genes: int = Field(
        2000,
        ge=100,
        le=10_000,
        title="Highly variable genes",
        description="How many highly variable genes the models see.",
    )
    hvg_batch: Literal["technology", "batch", "none"] = Field(
        "technology",
        title="Rank genes within",
        description="seurat_v3 ranks genes inside each group and takes the median rank over the groups.",
    )
    max_query_cells: int = Field(
        100_000,
        ge=100,
        title="Query cells to train on",
        description="Of a larger query a sample of this size is trained on, drawn from every batch and every kind of "
        "cell. All query cells are labelled.",
    )


class IntegrateParams(Params):
    """scVI: one latent space for both technologies."""

    n_layers: int = Field(2, ge=1, le=5, title="Layers", description="Hidden layers of encoder and decoder.")
    n_latent: int = Field(30, ge=2, le=100, title="Latent dimensions", description="Size of the latent X_scVI.")
    n_hidden: int = Field(128, ge=16, le=1024, title="Nodes per layer", description="Width of each hidden layer.")
    dropout_rate: float = Field(0.1, ge=0, le=0.9, title="Dropout", description="Share of nodes silenced per step.")
    gene_likelihood: Literal["zinb", "nb", "poisson"] = Field(
        "zinb", title="Gene likelihood", description="Distribution of a count: zinb and nb allow overdispersion."
    )
    dispersion: Literal["gene", "gene-batch"] = Field(
        "gene", title="Dispersion", description="One overdispersion per gene, or per gene and batch."
    )
    for_mapping: bool = Field(
        False,
        title="Made for mapping",
        description="scArches' architecture, for a reference that new queries are mapped onto later: layer instead of "
        "batch normalisation, and an encoder that sees the batch.",
    )
    loop: Loop = Field("scvi-tools", title="Training loop", description=LOOP_HELP)
    max_epochs: int | None = Field(
        None, ge=1, le=2000, title="Epochs", description="Passes over the cells; empty lets 'Budget' choose."
    )
    budget: Literal["full", "converge", "quick"] = Field(
        "full",
        title="Budget",
        description="full: scvi-tools' own rule, 400 epochs up to 20,000 cells, then fewer. converge: at most 120, "
        "then fewer, for use with 'Stop early'. quick: 40 down to 15.",
    )
    n_epochs_kl_warmup: int | None = Field(
        400,
        ge=1,
        le=2000,
        title="KL warm-up epochs",
        description="Epochs over which the KL term grows to full weight; empty takes half of the epochs, at most 20.",
    )
    batch_size: int | None = _batch_size()
    lr: float | None = _learning_rate()
    train_size: float | None = Field(
        None,
        ge=0.5,
        le=0.99,
        title="Training share",
        description="The other cells measure the validation loss. Empty is scvi-tools' own 0.9.",
    )
    early_stopping: bool = Field(
        False,
        title="Stop early",
        description="Stop when the held-out cells have not improved for the patience. The fast loop looks from "
        "the end of the KL warm-up on, lowers the learning rate first, and keeps the best weights.",
    )
    early_stopping_patience: int = _patience(45)


class TransferParams(Params):
    """scANVI, started from the trained scVI: carries the reference's labels to the query."""

    loop: Loop = Field("scvi-tools", title="Training loop", description=LOOP_HELP)
    max_epochs: int | None = Field(
        20, ge=1, le=500, title="Epochs", description="Passes over the cells; empty: 20 up to 20,000 cells, then fewer."
    )
    n_samples_per_label: int | None = Field(
        100,
        ge=1,
        le=10_000,
        title="Cells per label and epoch",
        description="Labelled cells drawn anew from each label in each epoch; empty uses all. Evens out rare labels.",
    )
    batch_size: int | None = _batch_size()
    lr: float | None = _learning_rate()
    train_size: float = Field(
        0.9, ge=0.5, le=0.99, title="Training share", description="The other cells measure the validation loss."
    )
    stratified_split: bool = Field(
        False,
        title="Split within each label",
        description="Every label gets cells in training. scvi-tools splits at random, which can miss a rare label.",
    )
    early_stopping: bool = Field(
        False,
        title="Stop early",
        description="Fast loop only: stop when the classification loss of held-out reference cells has not improved "
        "for the patience, and keep the best weights.",
    )
    early_stopping_patience: int = _patience(4)


class PanelParams(Params):
    """The classifiers that are asked next to scANVI, and whose label is handed out."""

    answer: Literal["consensus", "scanvi"] = Field(
        "consensus",
        title="Predicted label",
        description="consensus: the label with the highest mean probability over scANVI and the other classifiers. "
        "scanvi: scANVI's alone, as in the tutorial. Each one's own label is kept either way.",
    )
    left_out: tuple[VoterName, ...] = Field(
        (),
        title="Classifiers to leave out",
        description="Names of classifiers that are not asked. scANVI always is.",
    )


class EmbedParams(Params):
    """MDE: a map of each latent in two dimensions."""

    n_neighbors: int = Field(
        15, ge=3, le=100, title="Neighbours", description="How many nearest cells the map tries to keep close."
    )
    repulsive_fraction: float = Field(
        0.7,
        ge=0.1,
        le=5.0,
        title="Repulsion",
        description="Pairs pushed apart per pair kept close; more spreads groups.",
    )


class MappingParams(Params):
    """The published reference that a query is mapped onto, in place of a reference file."""

    reference: str = Field(title="Published reference", description="Its name in the library of references.")
    digest: str = Field(
        title="Its digest", description="Distinguishes a published reference from a later one under the same name."
    )


class RunParams(Params):
    """Everything that was asked of a run: what ``params.json`` holds.

    Without a query the run trains a reference alone, for the library, and ends with scANVI. With ``mapping`` the query
    is mapped onto a published reference: ``reference``, ``integrate`` and ``transfer`` then say how that was made,
    apart from the epochs of ``transfer``, which are those of the mapping.
    """

    name: str = Field("", max_length=80, title="Name", description="How the run is called in lists.")
    reference: SideParams
    query: SideParams = SideParams(path="")
    mapping: MappingParams | None = Field(
        None, title="Mapping", description="Published reference to map the query onto; empty trains on both sides."
    )
    prepare: PrepareParams = PrepareParams()
    integrate: IntegrateParams = IntegrateParams()
    transfer: TransferParams = TransferParams()
    panel: PanelParams = PanelParams()
    embed: EmbedParams = EmbedParams()
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="Same seed, same machine: same predictions.")
    device: Literal["auto", "cpu"] = Field(
        "auto", title="Device", description="auto takes a free GPU where there is one."
    )
    reject_below: float | None = Field(
        None,
        gt=0,
        le=1,
        title="Reject below",
        description="Predictions with a smaller confidence are exported as Unknown; empty keeps all.",
    )
    level_keys: tuple[str, ...] = Field(
        (),
        title="Coarser label columns",
        description="obs columns of the reference that are coarser levels of its labels: each label has one parent "
        "there. Empty takes families of the Cell Ontology.",
    )
    error_to_bear: float = Field(
        0.05,
        ge=0.001,
        le=0.5,
        title="Error to be borne",
        description="Share of wrong labels that you can bear. A cell whose finest label is not sure enough for it gets "
        "a coarser one.",
    )
    hidden_label: str | None = Field(
        None,
        title="Hidden label",
        description="A label of the reference that scANVI and the other methods are not trained on, to see what "
        "becomes of its cells. scVI knows no labels, so its model is reused. Empty hides none.",
    )
    last_stage: Literal["prepare", "evaluate"] = Field(
        "evaluate", title="Until", description="prepare stops before training, to look at counts and genes first."
    )

    @property
    def latent_stage(self) -> Literal["integrate", "transfer"]:
        """Stage whose latent the other methods use: scVI's, which knows no labels; a mapping has none."""
        return "transfer" if self.mapping else "integrate"

    @property
    def reference_alone(self) -> bool:
        """Whether there is no query: a reference is trained to be published."""
        return not self.query.path


def run_params(asked: dict[str, Any]) -> RunParams:
    """Build the params of a run from plain data: parsed JSON, a draft, a ``params.json``.

    Raises
    ------
    SettingsError
        A value is out of bounds, of the wrong type or of an unknown name; the first ones are listed.
    """
    try:
        return RunParams.model_validate(asked)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))[:100]}: {e['msg'][:200]}" for e in error.errors()]
        more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise SettingsError(f"These settings cannot be used: {'; '.join(faults[:MOST_FAULTS])}{more}.") from error


def read_params_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of params, which need not be complete.

    Raises
    ------
    SettingsError
        The file cannot be read or is not a JSON object.
    """
    try:
        asked = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:  # the last where it is nested too deep
        raise SettingsError(f"{path} cannot be read as JSON settings ({error}): repair it or leave it out.") from error
    if not isinstance(asked, dict):
        raise SettingsError(f"{path} holds no JSON object of settings: see params.json of a finished run for the form.")
    return asked


def read_params(path: Path) -> RunParams:
    """Read a complete ``params.json``.

    Raises
    ------
    SettingsError
        The file cannot be read or holds settings that cannot be used.
    """
    return run_params(read_params_json(path))
