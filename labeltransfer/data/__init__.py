"""From files to one AnnData over shared genes: intake, genes, prepare; the catalogue and the demo supply files."""
