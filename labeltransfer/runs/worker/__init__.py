"""Carry out one run, stage by stage: ``python -m labeltransfer.runs.worker RUN_DIR``.

Others take ``stages`` (names and titles), ``pipeline`` (keys, and which stages a run has) and ``work.work``.
"""
