"""The demo pair: a simulator of mouse bone marrow, and the finished run that ships with the app.

Other rooms import ``simulate``: ``simulate.simulate`` writes a pair, ``demo_params`` and ``ensure_demo`` give params
of the demo run. Benchmarks also take the cell types of ``states`` and the expression of ``expression``.
"""
