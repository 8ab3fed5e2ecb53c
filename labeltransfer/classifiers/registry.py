"""The panel: every classifier that a run asks next to scANVI, in the order of its tables."""

from labeltransfer.classifiers.contract import Voter
from labeltransfer.classifiers.forest import Forest
from labeltransfer.classifiers.knn import KNN
from labeltransfer.classifiers.regression import Regression

VOTERS: tuple[type[Voter], ...] = (KNN, Forest, Regression)
"""To add a classifier, write a file with its class and add the class here; names are unique."""
