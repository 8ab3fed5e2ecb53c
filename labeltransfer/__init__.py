"""labeltransfer: carry cell-type labels from an annotated reference to new cells."""

__version__ = "0.1.0"
