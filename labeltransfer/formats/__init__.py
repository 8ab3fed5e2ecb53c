"""Forms of input behind one registry: what the rest of the app reads, whatever the file.

For others: ``open_input`` opens a path, ``OpenInput`` is what it gives, ``SUFFIXES`` are the endings of files that it
takes, and ``blocks.count_blocks`` reads counts that do not fit into memory. The catalogue alone reads parts of h5ad
files on servers, for which it takes ``h5ad`` itself.
"""

from labeltransfer.formats.contract import OpenInput, Reader
from labeltransfer.formats.registry import READERS, SUFFIXES, open_input

__all__ = ["READERS", "SUFFIXES", "OpenInput", "Reader", "open_input"]
