"""Labels as terms of the Cell Ontology.

Others take: ``terms`` (``find_terms``, ``find_all``, ``Term``), ``relations`` (verdicts of label pairs, scores with
finer labels as right), ``development`` (what becomes what) and ``levels`` (coarser labels).
"""
