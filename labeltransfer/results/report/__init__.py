"""A finished run as one HTML file, with its methods paragraph and a script that repeats it.

Others take: ``render`` and ``script``; the other modules are their parts.
"""
