"""The disk that runs take: quotas, use, cleaning.

Others take ``quotas``, ``disk`` and ``cleaning``, through which runs are deleted too.
"""
