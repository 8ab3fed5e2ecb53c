"""Layouts of cells in two dimensions, and which cells a map draws.

Others take: ``embed`` (``mde``) and ``sampling``; ``layout`` and ``placement`` import torch and are parts of ``embed``.
"""
