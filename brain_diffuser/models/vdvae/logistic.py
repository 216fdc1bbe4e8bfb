"""VDVAE's output distribution: each pixel is a mixture of discretised logistics; green and blue depend on red.

Parameters of a pixel, for M mixtures: M logits, then per channel M means, M log scales, M coefficients (before tanh).
Levels 0 to 255 lie between -1 and 1; the bin of a level reaches half way to its neighbours, the outer bins to infinity.
Blue depends on green too.
Source: Salimans et al. 2017, arXiv 1701.05517, with the channel order of the VDVAE checkpoints.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from brain_diffuser.artifacts import finite

MIN_LOG_SCALE = -7.0


def log_likelihood(
    logits: Float[Tensor, "batch height width parameters"], images: UInt8[Tensor, "batch height width 3"]
) -> Float[Tensor, "batch height width"]:
    """Log probability of every pixel, its three channels together, in nats.

    Differs from the reference: a bin's log mass is exact, log s(a) + log s(-b) + log(1 - exp(b - a)) for the logistic
    function s and bin edges b < a, where the reference takes density times width once the mass is below 1e-5.
    """
    mixture, mean, log_scale, coefficient = split(logits)
    x = (images.float() / 127.5 - 1).unsqueeze(-1)  # (batch, height, width, 3, 1)
    red, green, _ = x.unbind(-2)
    to_green, red_to_blue, green_to_blue = coefficient.unbind(-2)
    dependent = torch.stack((torch.zeros_like(to_green), to_green * red, red_to_blue * red + green_to_blue * green), -2)
    centred, inverse_scale = x - mean - dependent, torch.exp(-log_scale)
    upper, lower = (centred + 1 / 255) * inverse_scale, (centred - 1 / 255) * inverse_scale
    first, last = (images == 0).unsqueeze(-1), (images == 255).unsqueeze(-1)
    below_upper = F.logsigmoid(upper).masked_fill(last, 0)
    above_lower = F.logsigmoid(-lower).masked_fill(first, 0)
    overlap = torch.log(-torch.expm1(-2 / 255 * inverse_scale)).masked_fill(first | last, 0)
    log_mass = (below_upper + above_lower + overlap).sum(-2)
    return torch.logsumexp(F.log_softmax(mixture, -1) + log_mass, -1)


def sample(
    logits: Float[Tensor, "batch height width parameters"],
    u_mixture: Float[Tensor, "batch height width mixtures"],
    u_logistic: Float[Tensor, "batch height width 3"],
) -> UInt8[Tensor, "batch height width 3"]:
    """Images drawn with uniform numbers in (0, 1): one component for the three channels, then each channel.

    Levels are truncated, not rounded, as in the reference, so they are half a level darker than the distribution.
    """
    mixture, *_ = split(logits)
    component = (mixture - torch.log(-torch.log(u_mixture))).argmax(-1)
    return _levels(logits, component, torch.log(u_logistic) - torch.log1p(-u_logistic))


def mode(logits: Float[Tensor, "batch height width parameters"]) -> UInt8[Tensor, "batch height width 3"]:
    """Images without noise: each pixel's most likely component at its median, as `sample` with all numbers 1/2.

    Differs from the reference, which only samples.
    """
    mixture, *_ = split(logits)
    return _levels(logits, mixture.argmax(-1), torch.zeros_like(logits[..., :3]))


def split(logits: Float[Tensor, "*pixel parameters"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mixture logits (*pixel, mixtures); means, log scales and coefficients (*pixel, 3, mixtures)."""
    n_mixtures = logits.shape[-1] // 10
    mixture, rest = logits.tensor_split((n_mixtures,), -1)
    mean, log_scale, coefficient = rest.unflatten(-1, (3, 3 * n_mixtures)).chunk(3, -1)
    return mixture, mean, log_scale.clamp(min=MIN_LOG_SCALE), torch.tanh(coefficient)


def _levels(
    logits: Float[Tensor, "batch height width parameters"],
    component: Int[Tensor, "batch height width"],
    noise: Float[Tensor, "batch height width 3"],
) -> UInt8[Tensor, "batch height width 3"]:
    """Levels of one component with standard logistic noise.

    Raises NotFinite: the parameters, or the values that they give; a cast would make them black.
    """
    fix = "Check the model's weights and the latents that it was given."
    finite.check(logits, "the output of VDVAE's decoder", fix)
    index = component[..., None, None].expand(*component.shape, 3, 1)
    mean, log_scale, coefficient = (part.gather(-1, index).squeeze(-1) for part in split(logits)[1:])
    value = mean + log_scale.exp() * noise
    finite.check(value, "a pixel of VDVAE's decoder", fix)
    red = value[..., 0].clamp(-1, 1)
    green = (value[..., 1] + coefficient[..., 0] * red).clamp(-1, 1)
    blue = (value[..., 2] + coefficient[..., 1] * red + coefficient[..., 2] * green).clamp(-1, 1)
    return ((torch.stack((red, green, blue), -1) + 1) * 127.5).clamp(0, 255).to(torch.uint8)
