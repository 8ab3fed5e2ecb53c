"""The manual: pages for mkdocs, and :mod:`docs.tables`, which writes their tables from the code."""
