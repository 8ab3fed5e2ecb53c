"""Log-likelihood of counts, value and gradients formed together and in place.

The same functions as ``scvi.distributions`` uses, with two differences in how they are reached. The terms of ``lgamma``
and ``digamma`` vanish where a count is 0, which nine of ten are, so they are computed at the other entries alone. And
the gradients are formed with the value in the same buffers, so that the backward pass has nothing left to compute.

Source: Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 2018; parametrised as in
scvi-tools (``log_zinb_positive``, ``log_nb_positive``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

EPS = 1e-8
"""Keeps logarithms finite, as in scvi-tools."""

TINY = 1e-36
"""Floor of the probability of a zero: below it the single-precision product of its factors is lost."""


@dataclass(frozen=True)
class Counts:
    """Counts of some cells, of which only those above 0 are held.

    ``rows`` and ``columns`` are their places in an array of shape (n_cells, n_genes) and ``values`` the counts, each of
    shape (n_nonzero,), row by row. ``ends`` are the number of them up to the end of each row, shape (n_cells,), in main
    memory.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    ends: Tensor
    n_genes: int

    @cached_property
    def at(self) -> Tensor:
        """Their places in the array laid out row after row, shape (n_nonzero,)."""
        return torch.add(self.columns, self.rows, alpha=self.n_genes)

    def of_rows(self, first: int, stop: int) -> "Counts":
        """Those of the rows from ``first`` up to ``stop``."""
        begin, end = int(self.ends[first - 1]) if first else 0, int(self.ends[stop - 1])
        within = slice(begin, end)
        ends = self.ends[first:stop] - begin
        return Counts(self.rows[within] - first, self.columns[within], self.values[within], ends, self.n_genes)

    def log_factorials(self) -> Tensor:
        """``lgamma(count + 1)``, shape (n_nonzero,)."""
        return torch.lgamma(self.values + 1)


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of each cell, shape (n_cells,), and its gradients, each of shape (n_cells, n_genes).

    The gradients are by the logits of the scale, by log theta and by the logits of the dropout; None where they were
    not asked for or the likelihood has no such parameter. By a theta that is the gene's they are summed over cells,
    shape (n_genes,).
    """

    value: Tensor
    by_scale: Tensor | None = None
    by_theta: Tensor | None = None
    by_dropout: Tensor | None = None


def zero_inflated(
    counts: Counts,
    scale_logits: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    dropout_logits: Tensor,
    *,
    with_gradients: bool = True,
) -> Likelihood:
    """Zero-inflated negative binomial.

    P(0) = p + (1 - p) q with q = NB(0), and P(x) = (1 - p) NB(x) above 0, where p is the dropout's sigmoid.

    Parameters
    ----------
    counts
        What was counted.
    scale_logits
        The decoder's output whose softmax over genes is the share of each gene, shape (n_cells, n_genes).
    log_library
        Logarithm of each cell's counts, shape (n_cells, 1); the mean is its exponential times the share.
    log_theta
        Logarithm of the inverse dispersion, shape (n_genes,) or (n_cells, n_genes).
    dropout_logits
        Logit of the zero inflation, shape (n_cells, n_genes).
    with_gradients
        Whether they are wanted as well as the value.

    Returns
    -------
    Likelihood
        ``scale_logits`` and ``dropout_logits`` are used up for it.
    """
    parts = _Parts(counts, scale_logits, log_library, log_theta)
    log_kept = torch.nn.functional.logsigmoid(-_take(dropout_logits, counts.at))
    dropped = torch.sigmoid(dropout_logits)
    kept = torch.sigmoid(dropout_logits.neg_())  # 1 - p without cancellation
    explained = parts.log_zero().exp_().mul_(kept)  # (1 - p) q
    zero = dropped.add_(explained).clamp_(min=TINY)
    if with_gradients:
        explained.div_(zero)  # share of the zeros that the negative binomial explains
    value = parts.sum(_put(zero, counts.at, 1.0).log_(), log_kept + parts.counted())
    if not with_gradients:
        return Likelihood(value)
    by_dropout = kept.sub_(_put(explained, counts.at, 1.0))
    return Likelihood(value, *parts.gradients(explained), by_dropout)


def negative_binomial(
    counts: Counts, scale_logits: Tensor, log_library: Tensor, log_theta: Tensor, *, with_gradients: bool = True
) -> Likelihood:
    """Negative binomial; arguments and result as of :func:`zero_inflated`."""
    parts = _Parts(counts, scale_logits, log_library, log_theta)
    log_zero = parts.log_zero()
    value = parts.sum(_put(log_zero, counts.at, 0.0), parts.counted())
    return Likelihood(value, *parts.gradients(log_zero.fill_(1.0))) if with_gradients else Likelihood(value)


def poisson(counts: Counts, scale_logits: Tensor, log_library: Tensor, *, with_gradients: bool = True) -> Likelihood:
    """Poisson distribution; arguments and result as of :func:`zero_inflated`."""
    log_share = torch.log_softmax(scale_logits, dim=1)
    terms = counts.values * (_take(log_share, counts.at) + log_library[counts.rows, 0]) - counts.log_factorials()
    library = log_library.exp()  # what the means of a cell add up to
    value = terms.new_zeros(len(scale_logits)).index_add_(0, counts.rows, terms) - library[:, 0]
    if not with_gradients:
        return Likelihood(value)
    # the counts of a cell add up to its library as well
    by_scale = log_share.exp_().mul_(library).neg_()
    by_scale.view(-1).index_add_(0, counts.at, counts.values)
    return Likelihood(value, by_scale)


class _Parts:
    """What both likelihoods share: the mean, and the terms of the counted entries.

    Arrays named ``..._at`` are of the counted entries, shape (n_nonzero,); ``theta`` has shape (n_genes,) or
    (n_cells, n_genes), all others (n_cells, n_genes).
    """

    def __init__(self, counts: Counts, scale_logits: Tensor, log_library: Tensor, log_theta: Tensor) -> None:
        self.counts = counts
        self.library = log_library.exp()
        self.theta = log_theta.exp()
        self.mean = torch.softmax(scale_logits, dim=1, out=scale_logits).mul_(self.library)
        self.total = self.mean + (self.theta + EPS)
        self.log_ratio = self.total.log().neg_().add_((self.theta + EPS).log())  # log(theta / (theta + mean))
        self.mean_at = _take(self.mean, counts.at)
        self.theta_at = self._at(self.theta)
        self.total_at = self.mean_at + self.theta_at + EPS
        self.log_ratio_at = ((self.theta_at + EPS) / self.total_at).log_()

    def log_zero(self) -> Tensor:
        """Logarithm of NB(0)."""
        return self.log_ratio * self.theta

    def counted(self) -> Tensor:
        """Logarithm of NB(x) at the counted entries, shape (n_nonzero,)."""
        terms = self._gamma(torch.lgamma).sub_(self.counts.log_factorials())
        terms.addcmul_(self.counts.values, ((self.mean_at + EPS) / self.total_at).log_())
        return terms.addcmul_(self.theta_at, self.log_ratio_at)

    def sum(self, dense: Tensor, counted: Tensor) -> Tensor:
        """Sum of both over each cell, shape (n_cells,)."""
        return dense.sum(1).index_add_(0, self.counts.rows, counted)

    def gradients(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of each cell's value by the scale's logits and by log theta, the latter in the shape of theta.

        ``weight`` is the derivative of the value by log NB(0) where nothing was counted. The buffers are used up.
        """
        at, values, theta_at = self.counts.at, self.counts.values, self.theta_at
        share = self.total.reciprocal_().mul_(self.theta)  # theta / (theta + mean)
        share_at = theta_at / self.total_at
        theta_ratio, theta_ratio_at = self.theta / (self.theta + EPS), theta_at / (theta_at + EPS)

        by_theta = self.log_ratio.sub_(share).add_(theta_ratio).mul_(self.theta).mul_(weight)
        by_theta_at = self.log_ratio_at - share_at + theta_ratio_at
        by_theta_at.add_(self._gamma(torch.digamma)).sub_(values / self.total_at).mul_(theta_at)
        _put(by_theta, at, by_theta_at)

        by_mean = share.mul_(self.mean).mul_(weight).neg_()  # times the mean, as the softmax wants it
        by_mean_at = values * (self.mean_at / (self.mean_at + EPS) - self.mean_at / self.total_at)
        _put(by_mean, at, by_mean_at.sub_(share_at * self.mean_at))
        through = by_mean.sum(1, keepdim=True).div_(self.library)
        return by_mean.sub_(self.mean.mul_(through)), by_theta.sum(0) if self.theta.ndim == 1 else by_theta

    def _at(self, theta: Tensor) -> Tensor:
        """Theta, or a function of it, at the counted entries."""
        return _take(theta, self.counts.columns if theta.ndim == 1 else self.counts.at)

    def _gamma(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """``function(count + theta) - function(theta)`` at the counted entries."""
        # once a gene where theta is the gene's, else at the counted entries alone
        less = self._at(function(self.theta)) if self.theta.ndim == 1 else function(self.theta_at)
        return function(self.counts.values + self.theta_at).sub_(less)


def _take(dense: Tensor, at: Tensor) -> Tensor:
    """Entries at row-major places."""
    return dense.view(-1).index_select(0, at)


def _put(dense: Tensor, at: Tensor, values: Tensor | float) -> Tensor:
    """Replace entries at row-major places, in place."""
    flat = dense.view(-1)
    if isinstance(values, Tensor):
        flat.index_copy_(0, at, values)
    else:
        flat.index_fill_(0, at, values)
    return dense
