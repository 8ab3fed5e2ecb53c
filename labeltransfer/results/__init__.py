"""From predictions to answers; pure, writes nothing into runs.

The rooms import one way: ``scores`` and ``maps`` come first, then ``ontology``, ``trust``, ``tile`` and ``figures``,
then ``audit``, ``export`` and ``report``.
"""
