"""Files on disk, each whole at any instant.

``home`` has the app's folders, ``files`` atomic writes and reading of the app's own files, ``digests`` what identifies
content, ``locks`` what running processes hold, ``ledger`` small files that several people edit, ``h5ad`` and
``sparse`` writing of large matrices, ``uploads`` and ``download`` files that arrive, ``ranges`` a remote file read in
parts. Other rooms may import from all of them.
"""
