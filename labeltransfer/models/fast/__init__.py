"""Our training loop for scVI and scANVI, which leaves ordinary scvi-tools models."""
