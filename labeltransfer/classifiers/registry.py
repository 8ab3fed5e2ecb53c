"""The panel: every classifier that a run asks next to scANVI, in the order of its tables."""

from labeltransfer.classifiers.contract import Voter
from labeltransfer.classifiers.correlation import Correlation
from labeltransfer.classifiers.forest import Forest
from labeltransfer.classifiers.knn import KNN
from labeltransfer.classifiers.log_regression import LogRegression
from labeltransfer.classifiers.profiles import Profiles
from labeltransfer.classifiers.rank_regression import RankRegression
from labeltransfer.classifiers.regression import Regression

VOTERS: tuple[type[Voter], ...] = (LogRegression, RankRegression, Correlation, Profiles, Regression, KNN, Forest)
"""To add a classifier, write a file with its class and add the class here; names are unique."""
