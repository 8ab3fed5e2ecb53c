"""What leaves a finished run: files, report, zip.

Others take ``deliver`` (a folder of files, one annotated h5ad), ``supplement`` (report, script, all as
a zip) and ``settings`` (``params.json``).
"""
