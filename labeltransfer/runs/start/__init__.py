"""Start a run: on this machine, on a Ray cluster or in a terminal; and when a waiting one is expected to start.

Others take ``admission.admit``, which checks quotas and makes the run, ``executors.start``, ``forecast``,
``related_runs`` and ``terminal``.
"""
