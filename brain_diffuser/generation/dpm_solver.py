"""DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095, algorithm 2), a sampler of second order beside DDIM."""

import math
from collections.abc import Callable

from jaxtyping import Float, Float64
from torch import Tensor

FEW_STEPS = 15
"""With fewer steps than this the last one is of first order, as in Lu's program: the second would overshoot."""


def sample(
    denoise: Callable[[Float[Tensor, "batch ..."], int], Float[Tensor, "batch ..."]],
    x: Float[Tensor, "batch ..."],
    steps: range,
    alpha_bars: Float64[Tensor, " training_steps"],
) -> Float[Tensor, "batch ..."]:
    """Denoise x from the highest of `steps` to training step 0, with the clean images that two steps expect.

    The first step is one of DDIM. Each later one extends the expected clean image along its change since the step
    before, in terms of lambda = log(signal / noise).

    Parameters
    ----------
    denoise : callable
        (x, t) -> the noise in x at timestep t.
    x : float (batch, ...)
        Noise, or latents with noise of the highest timestep.
    steps : range
        Timesteps, lowest first.
    alpha_bars : float64 (training_steps)
        Share of signal variance at each timestep; see `ddim.alpha_bars`.

    Returns
    -------
    float (batch, ...)
    """
    below = (0, *steps[:-1])
    x_0_before, h_before = None, 0.0
    for t, t_below in zip(reversed(steps), reversed(below), strict=True):
        signal, noise = _parts(alpha_bars[t])
        signal_below, noise_below = _parts(alpha_bars[t_below])
        h = math.log(signal_below / noise_below) - math.log(signal / noise)
        x_0 = (x - noise * denoise(x, t)) / signal
        extended = x_0
        if x_0_before is not None and (t_below > 0 or len(steps) >= FEW_STEPS):
            extended = x_0 + h / (2 * h_before) * (x_0 - x_0_before)
        x = noise_below / noise * x - signal_below * math.expm1(-h) * extended
        x_0_before, h_before = x_0, h
    return x


def _parts(alpha_bar: Float64[Tensor, ""]) -> tuple[float, float]:
    """The factors of the clean image and of the noise."""
    return alpha_bar.sqrt().item(), (1 - alpha_bar).sqrt().item()
