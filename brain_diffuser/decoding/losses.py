"""Losses of learned decoders: regression of the features, and contrast between one stimulus and the others."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn import functional

MIXCO_TEMPERATURE = 0.006
SOFT_CLIP_TEMPERATURES = (0.004, 0.0075)  # of embeddings, in the first and last epoch after mixup
LATENTS_TEMPERATURE = 0.075
MIXUP_CONCENTRATION, MIXUP_SHARE = 0.15, 0.5


def regression(
    predicted: Float[Tensor, "batch features"], true: Float[Tensor, "batch features"], kind: str
) -> Float[Tensor, ""]:
    """Regression loss of standardised features: mean squared error of embeddings, mean absolute error of latents.

    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809. Differs from the reference: for embeddings the squared
    error replaces a diffusion prior.
    """
    return functional.mse_loss(predicted, true) if kind == "embeddings" else functional.l1_loss(predicted, true)


def cosines(a: Float[Tensor, "a features"], b: Float[Tensor, "b features"]) -> Float[Tensor, "a b"]:
    """Cosine similarity of every row of a with every row of b."""
    return functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T


def mixup(n: int, rng: np.random.Generator) -> tuple[Int[Tensor, " n"], Float32[Tensor, " n"]]:
    """With which partner each of n stimuli is mixed, and the share of the stimulus itself, 1 for half of them.

    Source: MixCo in MindEye, Scotti et al. 2023, arXiv 2305.18274; the other shares are Beta(0.15, 0.15).
    """
    shares = rng.beta(MIXUP_CONCENTRATION, MIXUP_CONCENTRATION, n)
    shares[rng.random(n) >= MIXUP_SHARE] = 1
    return torch.from_numpy(rng.permutation(n)), torch.from_numpy(shares.astype(np.float32))


def mix(
    rows: Float[Tensor, "n columns"], partner: Int[Tensor, " n"], share: Float[Tensor, " n"]
) -> Float[Tensor, "n columns"]:
    """Rows mixed with their partners: share * row + (1 - share) * partner's row."""
    return share[:, None] * rows + (1 - share[:, None]) * rows[partner]


def bimixco(
    predicted: Float[Tensor, "batch features"],
    true: Float[Tensor, "batch features"],
    partner: Int[Tensor, " batch"],
    share: Float[Tensor, " batch"],
    temperature: float = MIXCO_TEMPERATURE,
) -> Float[Tensor, ""]:
    """BiMixCo: cross-entropy of finding the two images of a mixture, and of finding the mixtures of an image.

    With all shares 1 this is InfoNCE in both directions.

    Parameters
    ----------
    predicted : float (batch, features)
        Predictions from mixed betas.
    true : float (batch, features)
        Features of the stimuli, not mixed.
    partner : int (batch)
        With which stimulus each is mixed.
    share : float (batch)
        Share of the stimulus itself, 0 to 1.
    temperature : float
        Of the softmax.

    Source: equation of BiMixCo in MindEye, Scotti et al. 2023, arXiv 2305.18274. Differs from its program: a stimulus
    that is mixed with itself has the target 1; there 1 - share is written over it, which is 0 where nothing is mixed.
    """
    logits = cosines(predicted, true) / temperature
    probabilities = torch.diag(share).scatter_add(1, partner[:, None], (1 - share)[:, None])
    return -(probabilities * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * len(logits))


def soft_clip(
    predicted: Float[Tensor, "batch features"], true: Float[Tensor, "batch features"], temperature: float
) -> Float[Tensor, ""]:
    """SoftCLIP: cross-entropy between similarities of predictions with images and of images with images, both ways.

    Source: SoftCLIP loss of MindEye, Scotti et al. 2023, arXiv 2305.18274.
    """
    logits = cosines(predicted, true) / temperature
    probabilities = (cosines(true, true) / temperature).softmax(1)
    return -(probabilities * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum() / (2 * len(logits))


def temperature(progress: float) -> float:
    """Temperature of SoftCLIP along half a cosine; `progress` goes from 0 to 1."""
    first, last = SOFT_CLIP_TEMPERATURES
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
