"""The plain route: the tutorial's own calls of scvi-tools, with nothing of this app.

``python -m benchmarks.plain REFERENCE QUERY LABELS_KEY SEED OUT.csv [SCVI_EPOCHS SCANVI_EPOCHS]`` writes
``cell_id,predicted_label``; without epochs it takes the tutorial's.
"""

import sys

import anndata as ad
import scanpy as sc
import scvi


def main(
    reference_path: str,
    query_path: str,
    labels_key: str,
    seed: str,
    out: str,
    scvi_epochs: str | None = None,
    scanvi_epochs: str = "20",
) -> None:
    """Train scVI and scANVI as the tutorial does and write the query's labels."""
    scvi.settings.seed = int(seed)
    reference, query = ad.read_h5ad(reference_path), ad.read_h5ad(query_path)
    adata = ad.concat({"reference": reference, "query": query}, label="tech", join="inner", index_unique="@")
    adata.layers["counts"] = adata.X.copy()
    if adata.n_vars > 2000:
        sc.pp.highly_variable_genes(
            adata, flavor="seurat_v3", n_top_genes=2000, layer="counts", batch_key="tech", subset=True
        )
    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="tech")
    vae = scvi.model.SCVI(adata, n_layers=2, n_latent=30)
    epochs = int(scvi_epochs) if scvi_epochs else None
    vae.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False)

    scvi.settings.seed = int(seed)  # again, as in two separate sessions
    adata.obs["celltype_scanvi"] = "Unknown"
    is_reference = adata.obs["tech"] == "reference"
    adata.obs.loc[is_reference, "celltype_scanvi"] = adata.obs.loc[is_reference, labels_key].astype(str)
    lvae = scvi.model.SCANVI.from_scvi_model(
        vae, adata=adata, unlabeled_category="Unknown", labels_key="celltype_scanvi"
    )
    lvae.train(max_epochs=int(scanvi_epochs), n_samples_per_label=100, accelerator="cpu", enable_progress_bar=False)
    predicted = adata.obs.assign(predicted_label=lvae.predict(adata))[~is_reference]
    predicted.index = predicted.index.str.removesuffix("@query")
    predicted[["predicted_label"]].to_csv(out, index_label="cell_id")


if __name__ == "__main__":
    main(*sys.argv[1:])
