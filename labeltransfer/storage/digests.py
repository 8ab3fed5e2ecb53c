"""Digests: what identifies content, whichever file it is in."""

import hashlib
from pathlib import Path

ALGORITHM = "sha256"
"""Recent processors compute it in hardware: twice as fast as BLAKE2b, 0.7 s for a gigabyte."""


def new_digest() -> "hashlib._Hash":
    """A digest to update with blocks as they come."""
    return hashlib.new(ALGORITHM)


def digest(content: bytes | str) -> str:
    """Digest of some content, 64 hexadecimal characters."""
    return hashlib.new(ALGORITHM, content.encode() if isinstance(content, str) else content).hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file's content, read in blocks, 64 hexadecimal characters; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, ALGORITHM).hexdigest()
