"""Forms of input files, one reader each: today h5ad."""
