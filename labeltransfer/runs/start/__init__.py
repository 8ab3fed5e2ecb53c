"""Start a run: on this machine, on a Ray cluster or in a terminal; and when a waiting one is expected to start."""
