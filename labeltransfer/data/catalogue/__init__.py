"""Data sets that can be fetched from elsewhere, whole or in parts.

Other rooms import ``entries`` (the catalogue), ``fetch_request`` (what can be requested, and where it is kept),
``background`` (start, stop and watch a fetch in a process) and ``remote_table`` (cells and genes of a remote file);
``fetch`` and ``remote`` do the fetching, ``read_cost`` estimates its bytes.
"""
