"""Charts from data frames.

Others take: ``charts``, ``confusion_matrix``, ``dot_plot``, ``scatter`` and ``colours``; ``hover_text`` is a part of
``scatter``.
"""
