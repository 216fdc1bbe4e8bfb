"""Deterministic DDIM sampling (Song et al. 2021, arXiv 2010.02502) as pure functions, from noise or noised latents."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

N_TRAINING_STEPS = 1000


class Step(NamedTuple):
    """One sampling step of a batch of images, as a guidance function gets it to change the noise."""

    rows: slice
    """Which of all images the batch holds; what is left of the batch are copies of the last."""
    place: int
    """Number of the step; 0 is the first of `n_steps`."""
    n_steps: int
    alpha_bar: float
    x: Float[Tensor, "batch ..."]
    eps: Float[Tensor, "batch ..."]
    """The noise that the step takes without guidance functions: that of classifier-free guidance."""
    cond: Float[Tensor, "batch ..."]
    """The noise of the conditional pass."""
    uncond: Float[Tensor, "batch ..."]
    """The noise of the unconditional pass."""
    noise_in: Callable[[Float[Tensor, "batch ..."], bool], Float[Tensor, "batch ..."]]
    """(another x, whether the pass is conditional) -> the noise in it."""


def alpha_bars(
    start: float = 0.00085, end: float = 0.012, n: int = N_TRAINING_STEPS
) -> Float64[Tensor, " training_steps"]:
    """Share of signal variance left at each training step; sqrt(beta) runs linearly from sqrt(start) to sqrt(end)."""
    betas = torch.linspace(start**0.5, end**0.5, n, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0)


def timesteps(n: int, n_training_steps: int = N_TRAINING_STEPS) -> range:
    """The n timesteps that sampling visits, lowest first: 1, 21, ..., 981 for 50 of 1000 training steps.

    Raises ValueError: n is not between 1 and n_training_steps - 1.
    """
    if not 1 <= n < n_training_steps:
        raise ValueError(f"steps must be between 1 and {n_training_steps - 1}, got {n}")
    spacing = n_training_steps // n
    return range(1, 1 + n * spacing, spacing)


def img2img_steps(visited: range, strength: float) -> range:
    """The timesteps of img2img: the lowest int(strength * n) of those that sampling from pure noise would visit.

    Raises ValueError: strength is outside (0, 1], or leaves no step.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")
    n = int(strength * len(visited))
    if n == 0:
        raise ValueError(
            f"strength {strength} of {len(visited)} steps leaves no step; expected 1 or more. Raise either."
        )
    return visited[:n]


def noise_timestep(
    steps: range, noise_at: Literal["paper", "scheduler"], n_training_steps: int = N_TRAINING_STEPS
) -> int:
    """The timestep whose noise img2img starts with.

    "scheduler" is the first step taken (721 for 37 of 50). "paper" is the timestep that full sampling visits before it
    (741), so a little less noise is removed than was added; where there is none, as at strength 1, it is one spacing
    higher, at most the last training timestep (999).
    """
    return steps[-1] if noise_at == "scheduler" else min(steps[-1] + steps.step, n_training_steps - 1)


def add_noise(
    x_0: Float[Tensor, "batch ..."], eps: Float[Tensor, "batch ..."], alpha_bar: Float[Tensor, ""]
) -> Float[Tensor, "batch ..."]:
    """sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps."""
    signal, noise = alpha_bar.sqrt().item(), (1 - alpha_bar).sqrt().item()
    return signal * x_0 + noise * eps


def sample(
    denoise: Callable[[Float[Tensor, "batch ..."], int], Float[Tensor, "batch ..."]],
    x: Float[Tensor, "batch ..."],
    steps: range,
    alpha_bars: Float64[Tensor, " training_steps"],
    callback: Callable[[int, Float[Tensor, "batch ..."]], None] | None = None,
) -> Float[Tensor, "batch ..."]:
    """Denoise x by equation 12 of the paper with sigma 0, from the highest of `steps` to training step 0.

    Parameters
    ----------
    denoise : callable
        (x, t) -> the noise in x at timestep t.
    x : float (batch, ...)
        Noise, or latents with noise of the highest timestep.
    steps : range
        Timesteps, lowest first. Below the lowest lies training step 0, which is not quite the clean latents.
    alpha_bars : float64 (training_steps)
        Share of signal variance at each timestep; see `alpha_bars`.
    callback : callable, optional
        Called with (t, x) after each step.

    Returns
    -------
    float (batch, ...)
    """
    below = (0, *steps[:-1])
    for t, t_below in zip(reversed(steps), reversed(below), strict=True):
        eps = denoise(x, t)
        signal, noise = alpha_bars[t].sqrt().item(), (1 - alpha_bars[t]).sqrt().item()
        x_0 = (x - noise * eps) / signal
        x = add_noise(x_0, eps, alpha_bars[t_below])
        if callback is not None:
            callback(t, x)
    return x
