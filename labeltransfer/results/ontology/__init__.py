"""Labels as terms of the Cell Ontology: how two labels relate, coarser levels, scores that know of them."""
