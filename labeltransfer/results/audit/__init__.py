"""Observed labels that their own cells contradict, with the evidence."""
