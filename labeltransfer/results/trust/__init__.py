"""How far labels can be trusted.

Others take: ``alarm``, ``confidence`` (calibration), ``distance`` (novelty), ``rejection`` (``Rule``), ``consensus``,
``hidden_label`` and ``stability``.
"""
