"""Carry out one run, stage by stage: ``python -m labeltransfer.runs.worker RUN_DIR``."""
