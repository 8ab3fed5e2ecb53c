"""From two files to ``prepared.h5ad``: filter, normalise by gene length, join on shared genes, choose genes."""
