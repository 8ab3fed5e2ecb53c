"""Observed labels that their own cells contradict, with the evidence.

Others take: ``audit``; the other modules are its parts.
"""
