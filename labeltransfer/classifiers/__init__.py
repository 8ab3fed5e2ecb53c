"""The panel of classifiers that are asked next to scANVI: one contract, a voter a file.

For others: ``VOTERS``, the panel; ``Voter`` and ``PanelData``, the contract; ``training_rows``, the cells to train on.
Importing this room is light: a voter imports its library when it is fitted.
"""

from labeltransfer.classifiers.contract import PanelData, Voter
from labeltransfer.classifiers.registry import VOTERS
from labeltransfer.classifiers.training_sample import training_rows

__all__ = ["VOTERS", "PanelData", "Voter", "training_rows"]
