"""Predictions as CSV, annotated h5ad and zip.

Others take: ``predictions`` and ``safe_csv`` (``to_csv``).
"""
