"""Published references, onto which queries are mapped.

Others take ``library.Library``, with what it publishes, and ``reference_card.Card``.
"""
