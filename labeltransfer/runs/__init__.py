"""How the work is carried out and kept."""
