"""From files to one AnnData over shared genes: intake, genes, prepare; the catalogue and the demo supply files.

Imports point one way: ``prepare`` and ``catalogue`` take from ``intake``, ``intake`` and ``prepare`` from ``genes``.
"""
