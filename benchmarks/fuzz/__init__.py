"""Spoilt input files: every one is read right or refused in a sentence.

Run ``spoil``; the other modules are its parts.
"""
