"""Steers a sampler towards wanted features: NeuralDiffuser's guidance, for any denoiser, decoder and features.

Each of the first steps adds s kappa grad D to the noise it takes: s^2 is the step's share of noise, D the distance
between the features of the image that the step expects and the wanted ones, grad that by the latents.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from brain_diffuser.generation.ddim import Step

GRADIENT_SCALE = 2.0**16
"""On the way through the networks only: half precision ends at 6e-8. A power of two rounds nothing."""
BEST_SHARE = 0.25
"""of each layer's dimensions, with weights "top25"; MindDiffuser's (Lu et al. 2023, arXiv 2308.04249)."""
BLUR_WIDTH, BLUR_SIGMA = 9, 1.0
ATTENTION_THRESHOLD = 1.0
"""Self-attention that a place gets from all places together, on average 1; above it the place is blurred."""

X0 = Literal["standard", "blend", "released"]


class Targets(NamedTuple):
    """Features to come near, one row per image, and what each of their layers and dimensions counts."""

    features: Float[np.ndarray, "stimuli layers tokens dim"]
    layers: Float[np.ndarray, "stimuli layers"]
    dims: Float[np.ndarray, "layers tokens dim"]
    """of each layer they add up to 1, or are 0 if it does not count"""


def make_targets(
    features: Float[np.ndarray, "stimuli layers tokens dim"],
    shape: tuple[int, int, int],
    factors: Sequence[float],
    reliability: tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], str] | None = None,
) -> Targets:
    """What to come near, for a tower of features of a shape; `reliability`: correlation, std and kind of `dim_weights`.

    Raises ValueError: features of another tower; a layer that counts has no dimension that does; what `layer_weights`
    raises.
    """
    if features.shape[1:] != shape:
        raise ValueError(
            f"clip_layers has {features.shape[1:]} (blocks, tokens, dim), the tower {shape}; was it extracted with "
            "another CLIP? Rerun features and ridge."
        )
    layers = layer_weights(features, np.asarray(factors, np.float64))
    dims = np.ones(shape) if reliability is None else dim_weights(*reliability)
    total = dims.sum((1, 2), keepdims=True)
    without = np.flatnonzero((total.ravel() == 0) & (np.asarray(factors) > 0))
    if len(without):
        raise ValueError(
            f"no dimension of layer {without[0] + 1} is predicted better than by chance; leave its block out "
            "(guidance.without), or set guidance.reliability to none"
        )
    dims = np.divide(dims, total, out=np.zeros(shape), where=total > 0)
    return Targets(*(each.astype(np.float32) for each in (features, layers, dims)))


def layer_weights(
    features: Float[np.ndarray, "stimuli layers tokens dim"], factors: Float[np.ndarray, " layers"]
) -> Float[np.ndarray, "stimuli layers"]:
    """factor_l / |features_l|, over the sum of 1 / |features_m|: layers of small numbers count as much as others.

    Raises ValueError: a layer's features are all zero, or not finite.
    Source: the released program of Li, Wu & Chen 2024, arXiv 2402.13809.
    """
    lengths = np.sqrt(np.square(features, dtype=np.float64).sum((2, 3)))
    wrong = np.argwhere(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        row, layer = wrong[0]
        raise ValueError(
            f"wanted features of row {row}, layer {layer + 1} have length {lengths[row, layer]}; expected a finite "
            "number above 0. Rerun ridge."
        )
    return factors / lengths / (1 / lengths).sum(1, keepdims=True)


def dim_weights(
    correlation: Float[np.ndarray, "layers tokens dim"],
    std: Float[np.ndarray, "layers tokens dim"],
    kind: str,
) -> Float[np.ndarray, "layers tokens dim"]:
    """What each dimension counts, by how well held-out stimuli's is predicted.

    "cv_r2" is max(correlation, 0)^2 / std^2, 0 for what is constant; "top25" is 1 for the best quarter of each layer.
    """
    if kind == "cv_r2":
        share = np.square(np.maximum(correlation, 0), dtype=np.float64)
        return np.divide(share, np.square(std, dtype=np.float64), out=np.zeros(std.shape), where=std > 0)
    flat = correlation.reshape(len(correlation), -1)
    n_best = max(1, int(BEST_SHARE * flat.shape[1]))
    best = np.argpartition(-flat, n_best - 1, 1)[:, :n_best]
    found = np.zeros(flat.shape)
    np.put_along_axis(found, best, 1.0, 1)
    return found.reshape(correlation.shape)


def distance(
    found: Shaped[Tensor, "batch layers tokens dim"],
    targets: Float[Tensor, "batch layers tokens dim"],
    layers: Float[Tensor, "batch layers"],
    dims: Float[Tensor, "layers tokens dim"],
) -> Float[Tensor, " batch"]:
    """sum_l layers_l sum_d dims_ld (found_ld - wanted_ld)^2 of each image: dims makes it a mean over d."""
    return (layers * (dims * (found - targets).square()).sum((2, 3))).sum(1)


def predicted_x0(
    x: Float[Tensor, "batch ..."], eps: Float[Tensor, "batch ..."], alpha_bar: float, x0: X0
) -> Float[Tensor, "batch ..."]:
    """The latents whose image is compared.

    With a^2 = alpha_bar, s^2 = 1 - alpha_bar: "standard" (x - s eps) / a; "blend" s of it and 1 - s of x; "released" as
    blend, but with (x - s^2 eps) / a, as the released program has it.
    """
    signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    clean = (x - (noise**2 if x0 == "released" else noise) * eps) / signal
    return clean if x0 == "standard" else noise * clean + (1 - noise) * x


def gradient(
    x: Float[Tensor, "batch ..."],
    eps: Float[Tensor, "batch ..."],
    pull: Callable[[Tensor, int], Tensor],
    alpha_bar: float,
    x0: X0 = "standard",
    noise_in: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "batch ..."]:
    """Of every image's distance by its x; `pull(latents, row)` is that by the latents of one image.

    In two parts, which is the same: from the distance to the latents, image by image, each graph freed at once;
    then through the denoiser, `noise_in`. Without it the noise `eps` in x counts as constant.
    Memory: one image's decoder and features, or, later, the batch's denoiser.
    """
    latents = predicted_x0(x, eps, alpha_bar, x0).detach()
    pulls = torch.cat([pull(latents[row : row + 1], row) for row in range(len(x))])
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        latents = predicted_x0(x, noise_in(x) if noise_in else eps.detach(), alpha_bar, x0)
        return torch.autograd.grad(latents, x, pulls)[0]


def rms(values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """Of each image, in a shape that multiplies it."""
    return values.square().mean(tuple(range(1, values.ndim)), keepdim=True).sqrt()


@dataclass(frozen=True)
class Guide:
    """The noise that a step takes, changed so that the image's features come nearer to the wanted ones.

    The first int(n_steps eta) steps are guided. `kappa` is the gradient's factor ("absolute"), or the share that the
    change has of classifier-free guidance's, both as rms of an image's numbers ("relative"). Numbers of the gradient
    larger than `grad_clip` times their rms are cut to it; 0 cuts none. `sag_scale` adds self-attention guidance to all
    steps. No image's guidance depends on the others. With kappa or eta 0, and without self-attention guidance, a step
    takes bit for bit what it would.

    Source: Li, Wu & Chen 2024, arXiv 2402.13809; relative steps: Yu et al. 2023, arXiv 2303.09833; self-attention
    guidance: Hong et al. 2023, arXiv 2210.00939.
    """

    targets: Targets
    activations_of: Callable[[Tensor], Tensor]
    """latents of an image -> its features; gradients must pass"""
    kappa: float = 1.0
    kappa_is: Literal["relative", "absolute"] = "relative"
    eta: float = 0.2
    x0: X0 = "standard"
    through_unet: bool = True
    grad_clip: float = 0.0
    sag_scale: float = 0.0
    mid_block: nn.Module | None = None
    """the UNet's, of which self-attention guidance reads the attention"""

    def __call__(self, step: Step) -> Float[Tensor, "batch ..."]:
        eps = step.eps
        if self.sag_scale:
            eps = eps + self.sag_scale * self_attention(step, self.mid_block)
        if not self.kappa or step.place >= int(step.n_steps * self.eta):
            return eps
        return eps + self.change(step)

    def change(self, step: Step) -> Float[Tensor, "batch ..."]:
        """s kappa grad D."""

        def pull(latents: Tensor, row: int) -> Tensor:
            with torch.enable_grad():
                latents = latents.detach().requires_grad_()
                return torch.autograd.grad(GRADIENT_SCALE * self.distance(latents, step.rows.start + row), latents)[0]

        def noise_in(x: Tensor) -> Tensor:
            return step.noise_in(x, True)

        through = noise_in if self.through_unet else None
        found = gradient(step.x, step.conditional, pull, step.alpha_bar, self.x0, through)
        found = (1 - step.alpha_bar) ** 0.5 * found / GRADIENT_SCALE
        if self.grad_clip:
            largest = self.grad_clip * rms(found)
            found = torch.clamp(found, -largest, largest)
        if self.kappa_is == "absolute":
            return self.kappa * found
        length = rms(found)
        unit = torch.where(length > 0, found / length, 0.0)
        return self.kappa * rms(step.eps - step.unconditional) * unit

    def distance(self, latents: Float[Tensor, "1 ..."], row: int) -> Float[Tensor, ""]:
        """Of one image to the wanted features of a row."""
        targets, layers = (torch.from_numpy(each[row : row + 1]).to(latents) for each in self.targets[:2])
        return distance(self.activations_of(latents), targets, layers, torch.from_numpy(self.targets.dims).to(latents))[
            0
        ]


def self_attention(step: Step, mid_block: nn.Module | None) -> Float[Tensor, "batch channels height width"]:
    """The unconditional noise, less that of an image whose most attended places were blurred.

    The attention is that of the mid block; of a dual one the mean of both its transformers'. Two passes of the UNet.

    Raises ValueError: the mid block has no self-attention.
    Source: Hong et al. 2023, arXiv 2210.00939.
    """
    with _attention(mid_block) as received:
        eps = step.noise_in(step.x, False)
    height, width = eps.shape[2:]
    places = torch.stack(received).mean(0).float()
    shrink = round((height * width / places.shape[1]) ** 0.5)
    mask = (places > ATTENTION_THRESHOLD).view(len(eps), 1, height // shrink, width // shrink).to(eps.dtype)
    mask = nn.functional.interpolate(mask, (height, width))
    signal, noise = step.alpha_bar**0.5, (1 - step.alpha_bar) ** 0.5
    clean = (step.x - noise * eps) / signal
    degraded = mask * blurred(clean) + (1 - mask) * clean
    return eps - step.noise_in(signal * degraded + noise * eps, False)


def blurred(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """By a Gaussian, sigma 1, nine wide; the borders are reflected."""
    half = BLUR_WIDTH // 2
    taps = torch.exp(-torch.arange(-half, half + 1, device=x.device, dtype=x.dtype).square() / (2 * BLUR_SIGMA**2))
    taps = taps / taps.sum()
    channels = x.shape[1]
    padded = nn.functional.pad(x, (half,) * 4, mode="reflect")
    rows = nn.functional.conv2d(padded, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return nn.functional.conv2d(rows, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


@contextmanager
def _attention(mid_block: nn.Module | None) -> Iterator[list[Float[Tensor, "batch places"]]]:
    """What each place receives of all places' self-attention, mean over heads; one entry for each transformer's."""
    found: dict[str, Any] = dict(mid_block.named_modules()) if mid_block is not None else {}
    attentions: Sequence[Any] = [module for name, module in found.items() if name.endswith(".attn1")]
    if not attentions:
        raise ValueError("guidance.sag_scale needs self-attention in the UNet's mid block, which has none; set it to 0")
    received: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Tensor, ...]) -> None:
        query, key = (module.head_to_batch_dim(project(inputs[0])) for project in (module.to_q, module.to_k))
        shares = module.get_attention_scores(query, key)  # (batch heads) places places
        received.append(shares.unflatten(0, (-1, module.heads)).mean(1).sum(1))

    with ExitStack() as hooks:
        for module in attentions:
            hooks.enter_context(module.register_forward_pre_hook(keep))
        yield received
