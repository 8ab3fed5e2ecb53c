"""Predicted against observed labels.

Others take: ``cells`` (the table of cells: ``cell_table``, ``read_cells``, names of its columns), ``evaluate`` (scores,
confusion matrix, labels of the reference) and ``final_labels`` (``Edit`` and the labels after edits).
"""
