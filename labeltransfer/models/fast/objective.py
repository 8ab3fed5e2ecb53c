"""The objectives of scVI and scANVI, as functions of scvi-tools' own modules.

The value is that of ``module.loss`` in scvi-tools; what differs is the way to it: the likelihood of ``likelihood``, no
distribution objects (they check their arguments at each call), and scANVI's sum over labels without a copy of each
cell's input for each label.

Source: Lopez et al., Nature Methods 2018 (scVI); Xu et al., Molecular Systems Biology 2021 (scANVI).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from labeltransfer.models.fast.decoder import negative_log_likelihood
from labeltransfer.models.fast.device_counts import Cells
from labeltransfer.models.fast.layers import apply_layers, apply_pair
from labeltransfer.models.fast.parallel import OffloadedLoss

CLASSIFICATION_RATIO = 50
"""Weight of scANVI's classification loss, scvi-tools' default."""


@dataclass(frozen=True)
class Posterior:
    """Normal distribution of each cell's latent: mean, variance and a draw, each of shape (n_cells, n_latent)."""

    mean: Tensor
    variance: Tensor
    draw: Tensor


@dataclass(frozen=True)
class Terms:
    """Parts of a negative evidence lower bound, each a mean over cells.

    The warm-up weighs ``kl``; ``reconstruction`` holds all else.
    """

    reconstruction: Tensor
    kl: Tensor

    def loss(self, kl_weight: float = 1.0) -> Tensor:
        """Their weighted sum, a scalar."""
        return self.reconstruction + kl_weight * self.kl


def scvi_terms(module: Any, cells: Cells) -> Terms:
    """Objective of scVI (``VAE.loss``)."""
    q = encode(module, cells)
    return Terms(decode(module, q.draw, cells), _kl_to_standard(q).mean())


def scanvi_loss(
    module: Any,
    cells: Cells,
    labelled: Callable[[], Cells],
    kl_weight: float = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Objective of scANVI (``SCANVAE.loss``) and the classification loss within it, two scalars.

    Of its three parts, the sum over labels, the decoded counts and the classification of labelled cells, each is
    differentiated by the next free core; the first takes the longest and begins first.

    Parameters
    ----------
    module
        scANVI's module.
    cells
        Cells whose label is taken as unknown.
    labelled
        Gives the cells whose label is learnt from.
    kl_weight
        Weight of the KL terms.
    generator
        Where the sum over labels has its random numbers from; None is torch's own.
    """
    q = encode(module, cells)
    log_shares = F.log_softmax(_classify(module, q.draw), dim=1)

    def by_label(mean: Tensor, variance: Tensor, draw: Tensor, log_shares: Tensor) -> Tensor:
        return _label_terms(module, Posterior(mean, variance, draw), log_shares, generator).loss(kl_weight)

    parts = (module.encoder_z2_z1, module.decoder_z1_z2)
    labels = OffloadedLoss(by_label, (q.mean, q.variance, q.draw, log_shares), parts)
    parts = (module.z_encoder, module.classifier)
    # Weighed there, so that the gradients need not be weighed here. Only it uses torch's own generator at that time.
    classification = OffloadedLoss(lambda: CLASSIFICATION_RATIO * classification_loss(module, labelled()), (), parts)
    counted = decode(module, q.draw, cells, n_busy=2)
    weighed = classification.value()
    return labels.value() + counted + weighed, weighed / CLASSIFICATION_RATIO


def classification_loss(module: Any, cells: Cells) -> Tensor:
    """Mean cross entropy of the cells' labels, a scalar."""
    return F.cross_entropy(classification_logits(module, cells), cells.labels)


def classification_logits(module: Any, cells: Cells) -> Tensor:
    """Logits of each label at the mean of the latent, shape (n_cells, n_labels), as ``module.classify`` gives them."""
    return _classify(module, module.z_encoder.mean_encoder(_encoded(module, cells)))


def _classify(module: Any, z: Tensor) -> Tensor:
    for part in module.classifier.classifier:
        z = apply_layers(part, z) if hasattr(part, "fc_layers") else part(z)
    return z


def encode(module: Any, cells: Cells) -> Posterior:
    """Latent of the cells."""
    return _posterior(module.z_encoder, _encoded(module, cells))


def _encoded(module: Any, cells: Cells) -> Tensor:
    """What the encoder makes of the cells; their batch goes into it where the module was made so."""
    return apply_layers(module.z_encoder.encoder, cells.x, covariate=cells.batch if module.encode_covariates else None)


def decode(module: Any, z: Tensor, cells: Cells, *, n_busy: int = 0) -> Tensor:
    """Mean over cells of their counts' negative log-likelihood given their latent; ``n_busy`` cores are busy."""
    log_theta = module.px_r if module.dispersion == "gene" else cells.batch @ module.px_r.t()
    hidden = module.decoder.px_decoder(z, cells.batch)
    return negative_log_likelihood(module, hidden, cells.counts, cells.log_library, log_theta, n_busy=n_busy)


def _label_terms(module: Any, q1: Posterior, log_shares: Tensor, generator: torch.Generator | None) -> Terms:
    """What scANVI's objective adds to the decoded counts: a sum over all labels that a cell may have.

    ``log_shares`` is the logarithm of each label's probability, shape (n_cells, n_labels).
    """
    z1 = q1.draw
    n_cells, n_labels = log_shares.shape
    each: dict[str, Any] = {"n_labels": n_labels, "n_cells": n_cells, "generator": generator}
    q2 = _posterior(module.encoder_z2_z1, apply_layers(module.encoder_z2_z1.encoder, z1, **each), generator)
    h = apply_layers(module.decoder_z1_z2.decoder, q2.draw, **each)
    p1_mean, log_variance = apply_pair(module.decoder_z1_z2.mean_decoder, module.decoder_z1_z2.var_decoder, h)
    p1_variance = log_variance.exp()

    # rows are label by label: all cells with the first label, then all with the second
    z1_by_label = z1.repeat(n_labels, 1)
    prior = -_log_normal(z1_by_label, p1_mean, p1_variance).view(n_labels, n_cells)
    kl2 = _kl_to_standard(q2).view(n_labels, n_cells)
    shares = log_shares.exp()
    latent = _log_normal(z1, q1.mean, q1.variance) + (prior.t() * shares).sum(1)
    kl_label = (shares * (log_shares - module.y_prior.log())).sum(1)
    return Terms(latent.mean(), ((kl2.t() * shares).sum(1) + kl_label).mean())


def _posterior(encoder: Any, h: Tensor, generator: torch.Generator | None = None) -> Posterior:
    mean, log_variance = apply_pair(encoder.mean_encoder, encoder.var_encoder, h)
    variance = log_variance.exp() + encoder.var_eps
    noise = torch.empty_like(mean).normal_(generator=generator)
    return Posterior(mean, variance, torch.addcmul(mean, variance.sqrt(), noise))


def _kl_to_standard(q: Posterior) -> Tensor:
    """Divergence from a standard normal distribution, summed over dimensions."""
    return 0.5 * (q.variance + q.mean.square() - 1 - q.variance.log()).sum(1)


def _log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log density under a normal distribution, summed over dimensions."""
    squares = (x - mean).square() / variance
    return -0.5 * (squares + variance.log()).sum(1) - 0.5 * math.log(2 * math.pi) * x.shape[1]
