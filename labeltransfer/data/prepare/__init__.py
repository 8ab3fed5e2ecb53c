"""From two files to ``prepared.h5ad``: filter, normalise by gene length, join on shared genes, choose genes.

Other rooms import ``pair.prepare`` (a reference and a query), ``onto_reference.prepare_query`` (a query for a published
reference), ``sides.check_side`` (what would fail, from the table of cells alone) and ``prepared``, which reads the
result.
"""
