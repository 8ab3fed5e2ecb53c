"""scVI and scANVI: train, map a query onto a trained reference, predict, report progress.

Other rooms import ``integrate`` (scVI), ``transfer`` (scANVI), ``map_onto``, ``predict`` (cells that a model was not
trained on) and ``progress`` (``ProgressCallback``, ``Epoch``, ``Stopped``). All import torch: only the worker takes
them, never the app. ``import_scvi`` comes before any other import of scvi-tools; ``fit`` and ``split`` are inner.
"""
