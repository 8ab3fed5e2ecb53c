"""The cells of a label that a run was not trained on: which labels absorb them, and how many a rule rejects.

A method that knows nothing of a kind of cells must give them a wrong label, and can only be unsure of it. So the test
is how many of them a rejection rule rejects, at a stated loss of cells of the labels that were trained on.

Source: leave-one-class-out evaluation of open-set recognition, Scheirer et al., IEEE TPAMI 2013; for cell types,
Abdelaal et al., Genome Biology 2019 (rejection by removing a population from the training data).
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from labeltransfer.errors import RunError
from labeltransfer.results.trust.rejection import FARTHEST, Rule, rejected
from labeltransfer.training_labels import hidden_cells

LOSS = 0.05
"""Share of the other labels' held-out cells that a rule may cost."""

By = Literal["confidence", "distance", "both"]
"""What a rule rejects by."""

COLUMNS = ("side", "observed_label", "predicted_label", "confidence", "distance_percentile", "held_out")
"""Columns of the table of cells that this test reads."""


@dataclass(frozen=True)
class RuleEffect:
    """What a rule does to the hidden label's cells, and to held-out reference cells of all other labels."""

    rule: Rule
    n_hidden: int
    n_hidden_rejected: int
    n_others: int
    n_others_rejected: int

    def __post_init__(self) -> None:
        if self.n_hidden_rejected > self.n_hidden or self.n_others_rejected > self.n_others:
            raise ValueError(f"more cells rejected than there are: {self}")

    @property
    def share_rejected(self) -> float:
        """Share of the hidden label's cells that are rejected; NaN where there is none."""
        return self.n_hidden_rejected / self.n_hidden if self.n_hidden else float("nan")

    @property
    def share_lost(self) -> float:
        """Share of the other labels' held-out cells that are rejected; NaN where there is none."""
        return self.n_others_rejected / self.n_others if self.n_others else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, shares included."""
        return asdict(self) | {"caught": self.share_rejected, "lost": self.share_lost}


def absorbed(cells: pd.DataFrame, label: str) -> pd.DataFrame:
    """Which labels the hidden label's reference cells were given.

    Parameters
    ----------
    cells
        The table of cells of a run that hid the label.
    label
        That label.

    Returns
    -------
    One row a label that any was given, most cells first: ``predicted_label``, ``n_cells``, ``share`` (of the hidden
    label's cells), and the medians of ``confidence`` (calibrated, 0 to 1) and ``distance_percentile`` (0 to 100).
    """
    own = cells[hidden_cells(cells, label)]
    grouped = own.astype({"predicted_label": str}).groupby("predicted_label")
    table = grouped.agg(
        n_cells=("confidence", "size"),
        confidence=("confidence", "median"),
        distance_percentile=("distance_percentile", "median"),
    )
    table.insert(1, "share", table["n_cells"] / max(len(own), 1))
    return table.reset_index().sort_values(["n_cells", "predicted_label"], ascending=[False, True], ignore_index=True)


def other_cells(cells: pd.DataFrame, label: str) -> np.ndarray:
    """Held-out reference cells of the labels that were trained on, shape (n_cells,), bool."""
    own = (cells["side"] == "reference") & cells["held_out"] & cells["observed_label"].notna()
    return own.to_numpy(dtype=bool) & ~hidden_cells(cells, label)


def apply_rule(cells: pd.DataFrame, label: str, rule: Rule) -> RuleEffect:
    """Apply a rejection rule to the hidden label's reference cells and to held-out cells of the others."""
    out, own, others = rejected(cells, rule), hidden_cells(cells, label), other_cells(cells, label)
    return RuleEffect(rule, int(own.sum()), int((out & own).sum()), int(others.sum()), int((out & others).sum()))


def rule_at_loss(cells: pd.DataFrame, label: str, *, by: By = "both", loss: float = LOSS) -> Rule:
    """The strictest rule that costs at most a share of the other labels' held-out cells.

    It is chosen by those cells alone, because nothing is known of an unknown kind of cells. With ``both``, either
    threshold alone would cost the same number of cells.

    Parameters
    ----------
    cells
        The table of cells of a run that hid the label.
    label
        That label.
    by
        Whether confidence, distance or both reject.
    loss
        The share, 0 to 1.

    Raises
    ------
    RunError
        No reference cell of another label was held out.
    """
    others = cells[other_cells(cells, label)]
    if others.empty:
        raise RunError("No reference cell was held out, so the cost of a rule is not known: lower 'Training share'.")
    least_sure = np.sort(others["confidence"].to_numpy())
    farthest = np.sort(others["distance_percentile"].to_numpy())[::-1]
    n_most = min(int(loss * len(others)), len(others) - 1)

    def rule(n: int) -> Rule:
        """At most ``n`` cells rejected by each threshold: those beyond it, never those on it."""
        return Rule(
            confidence=0.0 if by == "distance" else float(least_sure[n]),
            distance=FARTHEST if by == "confidence" else float(farthest[n]),
        )

    # The more each may reject, the more both do: bisect to the last that is allowed.
    n = bisect_right(range(n_most + 1), n_most, key=lambda n: int(rejected(others, rule(n)).sum())) - 1
    return rule(n)


def hidden_report(cells: pd.DataFrame, label: str, rules: Mapping[str, Rule] | None = None) -> dict[str, Any]:
    """The whole test as plain data.

    Returns
    -------
    ``label``; ``swallowed_by``, the rows of :func:`absorbed`; ``rules``, by ``confidence``, ``distance`` and ``both``
    the :class:`RuleEffect` of the rules that lose 5 % of the others, and those of ``rules`` under their own names.
    """
    kinds: tuple[By, ...] = ("confidence", "distance", "both")
    judged = {kind: rule_at_loss(cells, label, by=kind) for kind in kinds} | dict(rules or {})
    return {
        "label": label,
        "swallowed_by": absorbed(cells, label).to_dict("records"),
        "rules": {name: apply_rule(cells, label, rule).as_dict() for name, rule in judged.items()},
    }
