"""NeuralDiffuser's guidance of a sampler towards target features, for any denoiser, autoencoder and features.

Each of the first steps adds s kappa grad D to its noise: s^2 is the step's share of noise, D the distance between the
target features and those of the image that the step predicts, grad the gradient with respect to the latents.

Classifier-free guidance is in img2img.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from brain_diffuser.artifacts import finite, messages
from brain_diffuser.generation.ddim import Step
from brain_diffuser.models import hooks

GRADIENT_SCALE = 2.0**16
"""Factor of gradients inside the networks, because half precision ends at 6e-8. A power of two rounds nothing."""
BEST_SHARE = 0.25
"""Share of each layer's dimensions that count with "top25", as in MindDiffuser (Lu et al. 2023, arXiv 2308.04249)."""
BLUR_WIDTH, BLUR_SIGMA = 9, 1.0
ATTENTION_THRESHOLD = 1.0
"""Self-attention that a place gets from all places together, 1 on average; places above it are blurred."""

OVERFLOW: messages.Sentence = (
    "Gradients can overflow in float16: set compute.dtype to bfloat16 or float32; if that does not help, check the "
    "weights."
)

X0 = Literal["standard", "blend", "released"]


class Targets(NamedTuple):
    """Guidance targets: target features, one row per image, and the weights of their layers and dimensions."""

    features: Float[np.ndarray, "stimuli layers tokens dim"]
    layers: Float[np.ndarray, "stimuli layers"]
    dims: Float[np.ndarray, "layers tokens dim"]
    """The weights of a layer add up to 1, or are all 0 if the layer does not count."""


def make_targets(
    features: Float[np.ndarray, "stimuli layers tokens dim"],
    shape: tuple[int, int, int],
    factors: Sequence[float],
    reliability: tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], str] | None = None,
) -> Targets:
    """Guidance targets from target features.

    Parameters
    ----------
    features : float (stimuli, layers, tokens, dim)
        Target features, one row per image.
    shape : (layers, tokens, dim)
        Of the features that the network gives.
    factors : sequence of float
        Factor of each layer, at least 0.
    reliability : (correlation, std, kind), optional
        Arguments of `dim_weights`; without it all dimensions count the same.

    Raises
    ------
    ValueError
        Features of another network, a layer that counts and has no dimension that does, or what `layer_weights` raises.
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
    return Targets(*(part.astype(np.float32) for part in (features, layers, dims)))


def layer_weights(
    features: Float[np.ndarray, "stimuli layers tokens dim"], factors: Float[np.ndarray, " layers"]
) -> Float[np.ndarray, "stimuli layers"]:
    """Weights of layers: factor_l / |features_l|, over the sum of 1 / |features_m| of all layers m.

    Layers of small numbers count as much as others.

    Raises ValueError: a layer's features are all zero, or not finite.
    Source: the released program of Li, Wu & Chen 2024, arXiv 2402.13809.
    """
    lengths = np.sqrt(np.square(features, dtype=np.float64).sum((2, 3)))
    wrong = np.argwhere(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        row, layer = wrong[0]
        raise ValueError(
            f"target features of row {row}, layer {layer + 1} have length {lengths[row, layer]}; expected a finite "
            "number above 0. Rerun ridge."
        )
    return factors / lengths / (1 / lengths).sum(1, keepdims=True)


def dim_weights(
    correlation: Float[np.ndarray, "layers tokens dim"],
    std: Float[np.ndarray, "layers tokens dim"],
    kind: str,
) -> Float[np.ndarray, "layers tokens dim"]:
    """Weights of dimensions by how well they are predicted for held-out stimuli.

    `kind` "cv_r2" is max(correlation, 0)^2 / std^2, and 0 for constant dimensions; "top25" is 1 for the best quarter of
    each layer and 0 for the rest.
    """
    if kind == "cv_r2":
        share = np.square(np.maximum(correlation, 0), dtype=np.float64)
        return np.divide(share, np.square(std, dtype=np.float64), out=np.zeros(std.shape), where=std > 0)
    flat = correlation.reshape(len(correlation), -1)
    n_best = max(1, int(BEST_SHARE * flat.shape[1]))
    best = np.argpartition(-flat, n_best - 1, 1)[:, :n_best]
    weights = np.zeros(flat.shape)
    np.put_along_axis(weights, best, 1.0, 1)
    return weights.reshape(correlation.shape)


def distance(
    features: Shaped[Tensor, "batch layers tokens dim"],
    targets: Float[Tensor, "batch layers tokens dim"],
    layers: Float[Tensor, "batch layers"],
    dims: Float[Tensor, "layers tokens dim"],
) -> Float[Tensor, " batch"]:
    """Weighted squared distance of each image's features to its targets.

    sum_l layers_l sum_d dims_ld (features_ld - targets_ld)^2; because dims add up to 1 it is a mean over d.

    Parameters
    ----------
    features, targets : float (batch, layers, tokens, dim)
        What an image has, and what it should have.
    layers : float (batch, layers)
        Weights of layers.
    dims : float (layers, tokens, dim)
        Weights of dimensions.
    """
    return (layers * (dims * (features - targets).square()).sum((2, 3))).sum(1)


def predicted_x0(
    x: Float[Tensor, "batch ..."], eps: Float[Tensor, "batch ..."], alpha_bar: float, x0: X0
) -> Float[Tensor, "batch ..."]:
    """The predicted clean latents, whose image is compared with the targets.

    Parameters
    ----------
    x : float (batch, ...)
        Noisy latents.
    eps : float (batch, ...)
        The noise in them.
    alpha_bar : float
        Share of signal variance; below a^2 = alpha_bar and s^2 = 1 - alpha_bar.
    x0 : "standard", "blend" or "released"
        "standard" is (x - s eps) / a; "blend" s of that plus (1 - s) of x; "released" the same as blend, but with
        (x - s^2 eps) / a, as the released program has it.
    """
    signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    clean = (x - (noise**2 if x0 == "released" else noise) * eps) / signal
    return clean if x0 == "standard" else noise * clean + (1 - noise) * x


def gradient(
    x: Float[Tensor, "batch ..."],
    eps: Float[Tensor, "batch ..."],
    pull: Callable[[Tensor, int], Tensor],
    alpha_bar: float,
    x0: X0,
    noise_in: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "batch ..."]:
    """Gradient of every image's distance to its targets with respect to its noisy latents x.

    The chain rule is applied in two parts: from the distance to the predicted latents, image by image, each graph freed
    at once; then from these through the denoiser.

    Parameters
    ----------
    x, eps : float (batch, ...)
        Noisy latents, and the noise in them.
    pull : callable
        (latents of one image, row) -> gradient of its distance with respect to these latents.
    alpha_bar : float
        Share of signal variance.
    x0 : str
        How the clean latents are predicted; see `predicted_x0`.
    noise_in : callable, optional
        x -> its noise, with gradients. Without it `eps` counts as constant.

    Memory: the autoencoder and features of one image, then the denoiser of the batch.
    """
    latents = predicted_x0(x, eps, alpha_bar, x0).detach()
    pulls = torch.cat([pull(latents[row : row + 1], row) for row in range(len(x))])
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        latents = predicted_x0(x, noise_in(x) if noise_in else eps.detach(), alpha_bar, x0)
        return torch.autograd.grad(latents, x, pulls)[0]


def rms(values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """Root mean square of each image's numbers, in a shape that multiplies the images."""
    return values.square().mean(tuple(range(1, values.ndim)), keepdim=True).sqrt()


@dataclass(frozen=True)
class Guide:
    """The noise that a step takes, changed so that the image's features come nearer to their targets.

    The first int(n_steps eta) steps are guided. No image's guidance depends on the others. With kappa or eta 0, and
    without self-attention guidance, a step takes the noise of classifier-free guidance, bit for bit.

    Parameters
    ----------
    targets : Targets
        Target features and weights of all images.
    activations_of : callable
        (latents of an image) -> its features, with gradients.
    kappa : float
        Strength, at least 0; see `kappa_is`.
    kappa_is : "relative" or "absolute"
        "absolute": kappa is the factor of the gradient. "relative": the rms of the change is kappa times the rms of
        classifier-free guidance's change.
    eta : float
        Share of the steps that are guided, the first ones, 0 to 1.
    x0 : "standard", "blend" or "released"
        How the clean latents are predicted; see `predicted_x0`.
    through_unet : bool
        Whether the gradient passes through the UNet; without it the noise counts as constant.
    grad_clip : float
        Largest number of a gradient in multiples of its rms; 0 is no limit.
    sag_scale : float
        Strength of self-attention guidance, in all steps; at least 0.
    mid_block : module or None
        The UNet's mid block, whose attention self-attention guidance reads.

    Source: Li, Wu & Chen 2024, arXiv 2402.13809; relative steps: Yu et al. 2023, arXiv 2303.09833; self-attention
    guidance: Hong et al. 2023, arXiv 2210.00939.
    """

    targets: Targets
    activations_of: Callable[[Tensor], Tensor]
    kappa: float
    kappa_is: Literal["relative", "absolute"]
    eta: float
    x0: X0
    through_unet: bool
    grad_clip: float
    sag_scale: float
    mid_block: nn.Module | None

    def __call__(self, step: Step) -> Float[Tensor, "batch ..."]:
        eps = step.eps
        if self.sag_scale:
            eps = eps + self.sag_scale * self_attention(step, self.mid_block)
        if not self.kappa or step.place >= int(step.n_steps * self.eta):
            return eps
        return eps + self.change(step)

    def change(self, step: Step) -> Float[Tensor, "batch ..."]:
        """What guidance adds to the noise of a step: s kappa grad D, scaled as `kappa_is` says.

        Raises NotFinite: the distance or its gradient, which would count as no guidance.
        """

        def pull(latents: Tensor, row: int) -> Tensor:
            target = min(step.rows.start + row, step.rows.stop - 1)
            with torch.enable_grad(), finite.from_row(row):
                latents = latents.detach().requires_grad_()
                scaled = GRADIENT_SCALE * self.distance(latents, target)
                finite.check(scaled[None], "the distance to the guidance targets", OVERFLOW)
                return torch.autograd.grad(scaled, latents)[0]

        def noise_in(x: Tensor) -> Tensor:
            return step.noise_in(x, True)

        through = noise_in if self.through_unet else None
        change = gradient(step.x, step.cond, pull, step.alpha_bar, self.x0, through)
        change = (1 - step.alpha_bar) ** 0.5 * change / GRADIENT_SCALE
        finite.check(change, "the gradient of guidance", OVERFLOW)
        if self.grad_clip:
            largest = self.grad_clip * rms(change)
            change = torch.clamp(change, -largest, largest)
        if self.kappa_is == "absolute":
            return self.kappa * change
        length = rms(change)
        finite.check(length, "the length of guidance's gradient", OVERFLOW)
        unit = torch.where(length > 0, change / length, 0.0)
        return self.kappa * rms(step.eps - step.uncond) * unit

    def distance(self, latents: Float[Tensor, "1 ..."], row: int) -> Float[Tensor, ""]:
        """Distance of one image to the targets of a row."""
        targets, layers = (torch.from_numpy(part[row : row + 1]).to(latents) for part in self.targets[:2])
        dims = torch.from_numpy(self.targets.dims).to(latents)
        return distance(self.activations_of(latents), targets, layers, dims)[0]


def self_attention(step: Step, mid_block: nn.Module | None) -> Float[Tensor, "batch channels height width"]:
    """Self-attention guidance: the unconditional noise less that of an image whose most attended places are blurred.

    The attention is that of the mid block; where it has two transformers, the mean of both. It takes two passes of the
    UNet.

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
    """Images blurred by a Gaussian of sigma 1 that is nine wide; the borders are reflected."""
    half = BLUR_WIDTH // 2
    kernel = torch.exp(-torch.arange(-half, half + 1, device=x.device, dtype=x.dtype).square() / (2 * BLUR_SIGMA**2))
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    padded = nn.functional.pad(x, (half,) * 4, mode="reflect")
    rows = nn.functional.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


@contextmanager
def _attention(mid_block: nn.Module | None) -> Iterator[list[Float[Tensor, "batch places"]]]:
    """Self-attention that each place receives from all places, mean over heads; one entry for each transformer."""
    modules: dict[str, Any] = dict(mid_block.named_modules()) if mid_block is not None else {}
    attentions: Sequence[Any] = [module for name, module in modules.items() if name.endswith(".attn1")]
    if not attentions:
        raise ValueError("guidance.sag_scale needs self-attention in the UNet's mid block, which has none; set it to 0")
    received: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Tensor, ...]) -> None:
        query, key = (module.head_to_batch_dim(project(inputs[0])) for project in (module.to_q, module.to_k))
        shares = module.get_attention_scores(query, key)  # (batch heads) places places
        received.append(shares.unflatten(0, (-1, module.heads)).mean(1).sum(1))

    with hooks.called_on_inputs(attentions, keep):
        yield received
