"""Read h5ad files safely and in parts: tables whole, counts only where they are wanted."""
