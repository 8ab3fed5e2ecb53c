"""The objectives of scVI and scANVI, as functions of scvi-tools' own modules.

The value is that of ``module.loss`` in scvi-tools; what differs is the way to it: the likelihood of ``likelihood``, no
distribution objects (they check their arguments at each call), and scANVI's sum over labels without a copy of each
cell's input for each label.

Source: Lopez et al., Nature Methods 2018 (scVI); Xu et al., Molecular Systems Biology 2021 (scANVI).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from labeltransfer.models.cores import differentiated_aside
from labeltransfer.models.heads import mean_log_likelihood
from labeltransfer.models.layers import through
from labeltransfer.models.resident import Cells

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
    return Terms(-decode(module, q.draw, cells), _kl_to_standard(q).mean())


def scanvi_loss(module: Any, cells: Cells, kl_weight: float = 1.0) -> Tensor:
    """Objective of scANVI for cells whose label is taken as unknown (``SCANVAE.loss`` without its labelled cells)."""
    q = encode(module, cells)
    parts = (module.encoder_z2_z1, module.decoder_z1_z2, module.classifier)

    def by_label(mean: Tensor, variance: Tensor, draw: Tensor) -> Tensor:
        return _label_terms(module, Posterior(mean, variance, draw)).loss(kl_weight)

    # Of the two, one is differentiated on one core while the others take the other.
    labels = differentiated_aside(by_label, (q.mean, q.variance, q.draw), parts)
    return labels - decode(module, q.draw, cells, n_busy=1)


def classification_logits(module: Any, cells: Cells) -> Tensor:
    """Logits of each label at the mean of the latent, shape (n_cells, n_labels), as ``module.classify`` gives them."""
    return module.classifier(encode(module, cells).mean)


def encode(module: Any, cells: Cells) -> Posterior:
    """Latent of the cells; the batch goes into it where the module was made so (``encode_covariates``)."""
    layers = module.z_encoder.encoder
    h = layers(cells.x, cells.batch) if module.encode_covariates else through(layers, cells.x)
    return _posterior(module.z_encoder, h)


def decode(module: Any, z: Tensor, cells: Cells, *, n_busy: int = 0) -> Tensor:
    """Mean log-likelihood of the cells' counts given their latent, a scalar; ``n_busy`` cores have other work."""
    log_theta = module.px_r if module.dispersion == "gene" else cells.batch @ module.px_r.t()
    hidden = module.decoder.px_decoder(z, cells.batch)
    return mean_log_likelihood(module, hidden, cells.counts, cells.log_library, log_theta, n_busy=n_busy)


def _label_terms(module: Any, q1: Posterior) -> Terms:
    """What scANVI's objective has beside the decoded counts: a sum over all labels that a cell may have."""
    z1 = q1.draw
    n_cells, n_labels = len(z1), module.n_labels
    h = through(module.encoder_z2_z1.encoder, z1, n_labels=n_labels, n_cells=n_cells)
    q2 = _posterior(module.encoder_z2_z1, h)
    h = through(module.decoder_z1_z2.decoder, q2.draw, n_labels=n_labels, n_cells=n_cells)
    p1_mean, p1_variance = module.decoder_z1_z2.mean_decoder(h), module.decoder_z1_z2.var_decoder(h).exp()

    # rows are label by label: all cells with the first label, then all with the second
    z1_by_label = z1.repeat(n_labels, 1)
    prior = -_log_normal(z1_by_label, p1_mean, p1_variance).view(n_labels, n_cells)
    kl2 = _kl_to_standard(q2).view(n_labels, n_cells)
    log_shares = F.log_softmax(module.classifier(z1), dim=1)
    shares = log_shares.exp()
    latent = _log_normal(z1, q1.mean, q1.variance) + (prior.t() * shares).sum(1)
    kl_label = (shares * (log_shares - module.y_prior.log())).sum(1)
    return Terms(latent.mean(), ((kl2.t() * shares).sum(1) + kl_label).mean())


def _posterior(encoder: Any, h: Tensor) -> Posterior:
    mean = encoder.mean_encoder(h)
    variance = encoder.var_encoder(h).exp() + encoder.var_eps
    return Posterior(mean, variance, torch.addcmul(mean, variance.sqrt(), torch.randn_like(mean)))


def _kl_to_standard(q: Posterior) -> Tensor:
    """Divergence from a standard normal distribution, summed over dimensions."""
    return 0.5 * (q.variance + q.mean.square() - 1 - q.variance.log()).sum(1)


def _log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log density under a normal distribution, summed over dimensions."""
    squares = (x - mean).square() / variance
    return -0.5 * (squares + variance.log()).sum(1) - 0.5 * math.log(2 * math.pi) * x.shape[1]
