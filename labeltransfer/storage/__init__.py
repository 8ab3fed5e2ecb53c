"""Files on disk, and how they get there whole: atomic writes, h5ad, large sparse matrices, uploads, downloads."""
