"""Layouts of cells in two dimensions, and which cells a map draws."""
