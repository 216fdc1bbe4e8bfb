"""What learned decoders are trained for: to be near the features, and to tell one stimulus from the others."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn import functional

MIXCO_TEMPERATURE = 0.006
SOFT_CLIP_TEMPERATURES = (0.004, 0.0075)  # of embeddings, from the first to the last epoch after mixup
LATENTS_TEMPERATURE = 0.075
MIXUP_CONCENTRATION, MIXUP_SHARE = 0.15, 0.5


def regression(
    predicted: Float[Tensor, "batch features"], true: Float[Tensor, "batch features"], kind: str
) -> Float[Tensor, ""]:
    """Mean squared error of embeddings, mean absolute error of latents; both in units of standardised features.

    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809. Differs from the reference: for embeddings the squared
    error stands in for a diffusion prior.
    """
    return functional.mse_loss(predicted, true) if kind == "embeddings" else functional.l1_loss(predicted, true)


def cosines(a: Float[Tensor, "a features"], b: Float[Tensor, "b features"]) -> Float[Tensor, "a b"]:
    """Cosine of every row of a with every row of b."""
    return functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T


def mixup(n: int, rng: np.random.Generator) -> tuple[Int[Tensor, " n"], Float32[Tensor, " n"]]:
    """With which other stimulus each is mixed, and the share of its own; half of them are left as they are.

    Source: MixCo in MindEye, Scotti et al. 2023, arXiv 2305.18274: shares are Beta(0.15, 0.15).
    """
    shares = rng.beta(MIXUP_CONCENTRATION, MIXUP_CONCENTRATION, n)
    shares[rng.random(n) >= MIXUP_SHARE] = 1
    return torch.from_numpy(rng.permutation(n)), torch.from_numpy(shares.astype(np.float32))


def mix(
    rows: Float[Tensor, "n columns"], other: Int[Tensor, " n"], share: Float[Tensor, " n"]
) -> Float[Tensor, "n columns"]:
    """share * own + (1 - share) * other's."""
    return share[:, None] * rows + (1 - share[:, None]) * rows[other]


def bimixco(
    predicted: Float[Tensor, "batch features"],
    true: Float[Tensor, "batch features"],
    other: Int[Tensor, " batch"],
    share: Float[Tensor, " batch"],
    temperature: float = MIXCO_TEMPERATURE,
) -> Float[Tensor, ""]:
    """Cross-entropy of finding a mixture's two images, and of finding an image's mixtures; `true` is not mixed.

    With all shares 1 this is InfoNCE in both directions.
    Source: equation of BiMixCo in MindEye, Scotti et al. 2023, arXiv 2305.18274.
    """
    logits = cosines(predicted, true) / temperature
    wanted = torch.diag(share).scatter_add(1, other[:, None], (1 - share)[:, None])
    return -(wanted * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * len(logits))


def soft_clip(
    predicted: Float[Tensor, "batch features"], true: Float[Tensor, "batch features"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy between similarities of predictions with images and of images among themselves, both ways.

    Source: SoftCLIP loss of MindEye, Scotti et al. 2023, arXiv 2305.18274.
    """
    logits = cosines(predicted, true) / temperature
    wanted = (cosines(true, true) / temperature).softmax(1)
    return -(wanted * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum() / (2 * len(logits))


def temperature(progress: float) -> float:
    """Of SoftCLIP, along half a cosine; `progress` goes from 0 to 1."""
    first, last = SOFT_CLIP_TEMPERATURES
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
