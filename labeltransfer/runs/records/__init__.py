"""Run directories, stages' artefacts, checksums, edits: the contract between the app and the worker.

Others take ``run`` (``Run``, ``Status``), ``store`` (``Store``, ``default_store``, ``find_run``), ``artefacts``,
``access``, ``timing``, ``checksums``, and what users change: ``edits``, ``term_overrides``, ``relabelling``.
"""
