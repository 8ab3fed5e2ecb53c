"""Whether a server is well, and what is wrong with a home and its set-up.

Others take ``health.health``, for now, and ``doctor.examine``, for everything.
"""
