"""Observed labels that their own cells contradict, with the evidence.

Others take: ``audit``, and ``corrections``, which applies rows of it to the labels; the other modules are its parts.
"""
