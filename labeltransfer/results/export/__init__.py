"""Predictions as CSV, annotated h5ad and zip."""
