"""From Python, for notebooks: what the package itself offers as ``transfer``, ``inspect`` and ``read``."""
