"""Our training loop for scVI and scANVI, which leaves ordinary scvi-tools models.

``models`` imports ``loop.train``, ``tasks`` (what is trained) and ``device_counts`` (what it is trained on); benchmarks
do so too. ``compile_ahead`` is run once, at installation. All else is inner.
"""
