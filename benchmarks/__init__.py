"""Scripts that measure the app, most of them against the plain route in the same run, and print both.

``README.md`` in this folder says which script prints which table of ``results.md``.
"""
