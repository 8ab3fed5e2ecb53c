"""Classifiers next to scANVI: one contract, a voter a file."""
