"""Labels at several levels: each cell gets the finest one that is sure enough, and an error that the user can bear.

Others take: ``columns`` (which columns of a file are coarser levels of its labels), ``hierarchy`` (the tree of a run's
labels), ``back_off`` (label, level and path of each cell), ``risk_control`` (the threshold that keeps a promise) and
``in_words``.
"""
