"""Gene names and lengths, the genes that both sides share, and the highly variable ones.

Other rooms import ``names`` (what names are, and which columns hold others), ``lengths.read_gene_lengths`` and
``selection`` (``shared_genes``, ``choose_genes``). None of them knows of files or findings.
"""
