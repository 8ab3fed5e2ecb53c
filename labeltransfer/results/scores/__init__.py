"""Predicted against observed labels: the table of cells, scores, final labels after edits."""
