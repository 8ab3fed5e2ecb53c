"""What lies behind one tile of the confusion matrix.

Others take: ``groups`` (its cells and those to compare them with) and ``markers`` (genes that differ between groups).
"""
