"""Read h5ad files safely and in parts: tables whole, counts only where they are wanted.

``formats.registry`` imports ``reader``; everything else goes through :func:`labeltransfer.formats.open_input`. Only the
catalogue, which reads h5ad files on servers, takes ``h5ad_file``, ``layouts`` and ``matrices`` themselves.
"""
