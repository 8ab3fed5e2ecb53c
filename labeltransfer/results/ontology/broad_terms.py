"""Terms of the Cell Ontology that many cells share without being kin."""

NO_KINSHIP = {
    "CL:0000000": "cell",
    "CL:0000255": "eukaryotic cell",
    "CL:0000034": "stem cell",
    "CL:0000723": "somatic stem cell",
    "CL:0000048": "multi fate stem cell",
    "CL:0011026": "progenitor cell",
    "CL:0011115": "precursor cell",
    "CL:0000151": "secretory cell",
    "CL:1100001": "secretory epithelial cell",
    "CL:0000183": "contractile cell",
    "CL:0000234": "phagocyte",
    "CL:0000518": "phagocyte (sensu Vertebrata)",
    "CL:0000145": "professional antigen presenting cell",
    "CL:0000325": "stuff accumulating cell",
    "CL:0000630": "supporting cell",
    "CL:0000219": "motile cell",
    "CL:0002242": "nucleate cell",
    "CL:0000226": "single nucleate cell",
    "CL:0000081": "blood cell",
    "CL:1000497": "kidney cell",
    "CL:0002681": "kidney cortical cell",
    "CL:1000504": "kidney medulla cell",
    "CL:0002494": "cardiocyte",
}
"""Id and name of terms that gather cells by what they do or where they lie, not by kind.

A blood stem cell and a hair follicle's are both stem cells, an endothelial cell and a tubule's both kidney cells: to
share such an ancestor makes no siblings, and to compare labels at its level tells nothing.
"""
