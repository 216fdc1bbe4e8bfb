"""Stage 5: first guesses and predicted embeddings -> reconstructions, by img2img of a conditioned denoiser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor

from brain_diffuser.artifacts import hdf5, image_files, seeds
from brain_diffuser.generation import ddim
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, Denoiser, DualDenoiser

Models = tuple[DualDenoiser | TextDenoiser, Autoencoder]
"""The denoiser, of Versatile Diffusion or Stable Diffusion, and the autoencoder of its latents."""


class Decoded(NamedTuple):
    """What some stimuli are reconstructed from; a variant may start from noise, or know nothing of vision."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    guesses: UInt8[np.ndarray, "stimuli height width 3"] | None
    text: Float[np.ndarray, "stimuli text_tokens text_dim"]
    vision: Float[np.ndarray, "stimuli vision_tokens vision_dim"] | None


def load(
    text_path: str | Path, vision_path: str | Path, stage1: str | Path, manifest: str | Path, rows: slice = hdf5.ALL
) -> Decoded:
    """Some rows of the decoded embeddings, and their first guesses; an empty path is none.

    Raises ValueError: they are not the same stimuli.
    """
    text = hdf5.load(text_path, rows)
    vision = guesses = None
    if vision_path:
        vision, nsd_id = hdf5.load(vision_path, rows)
        hdf5.check_aligned(text_path, text.nsd_id, vision_path, nsd_id)
    if stage1:
        nsd_id, guesses = image_files.read_folder(stage1, manifest, rows)
        hdf5.check_aligned(stage1, nsd_id, text_path, text.nsd_id)
    return Decoded(text.nsd_id, guesses, text.values, vision)


def image_size(denoiser: Denoiser, autoencoder: Autoencoder) -> int:
    """Side in pixels of the images that both networks were trained on, 512 for the published ones."""
    return denoiser.latent_shape[-1] * autoencoder.downscale


def reconstruct(
    stage1: UInt8[np.ndarray, "stimuli height width 3"] | None,
    text: Float[np.ndarray, "stimuli text_tokens text_dim"],
    vision: Float[np.ndarray, "stimuli vision_tokens vision_dim"] | None,
    unconditional: tuple[Float[Tensor, "1 _ _"], ...],
    models: Models,
    *,
    nsd_id: Int32[np.ndarray, " stimuli"],
    seed: int,
    steps: int = 50,
    strength: float = 0.75,
    guidance_scale: float = 7.5,
    text_weight: float = 0.4,
    noise_at: Literal["paper", "scheduler"] = "paper",
    batch_size: int = 1,
    guidance_fn: Callable[[ddim.Step], Tensor] | None = None,
) -> Iterator[tuple[int, UInt8[np.ndarray, "image_height image_width 3"]]]:
    """(nsd_id, image), in the order of the rows; the defaults are the paper's.

    The first guess, noised to a share `strength` of the schedule, is denoised under both embeddings, the text's
    counting `text_weight`; without vision (None) under the text's alone, and that is 1. Without first guesses (None)
    every image starts from noise and takes all steps. Every draw depends on the seed and the nsd_id alone. Latents
    and the sampler are float32 whatever the networks compute in. `steer` gives the noise that each step takes.

    Raises ValueError: embeddings of another CLIP; a setting out of range; latents that are not finite.
    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334. Differs from the reference: seeded per image, and batched.
    """
    told = {"text": text} if vision is None else {"text": text, "vision": vision}
    for kind, predicted, unguided in zip(told, told.values(), unconditional, strict=True):
        if predicted.shape[1:] != unguided.shape[1:]:
            raise ValueError(
                f"predicted {kind} has {predicted.shape[1:]} (tokens, dim), its unguided embedding "
                f"{tuple(unguided.shape[1:])}; was it extracted with another CLIP? Rerun features and ridge."
            )
    visited = ddim.timesteps(steps)
    taken = visited if stage1 is None else ddim.img2img_steps(visited, strength)
    denoiser, autoencoder = models
    device = denoiser.unet.device
    alpha_bars = ddim.alpha_bars()

    def start(rows: slice) -> Float[Tensor, "batch channels size size"]:
        noise = seeds.normal(seed, nsd_id[rows], "diffusion.noise", denoiser.latent_shape).to(device)
        if stage1 is None:
            return noise
        latents = _encode(stage1[rows], nsd_id[rows], models, seed)
        return ddim.add_noise(latents, noise, alpha_bars[ddim.noise_timestep(taken, noise_at)])

    @torch.no_grad()
    def reconstruct_batch(rows: slice) -> UInt8[np.ndarray, "batch image_height image_width 3"]:
        contexts = []
        for predicted, unguided in zip(told.values(), unconditional, strict=True):
            guided = torch.from_numpy(predicted[rows]).to(device, unguided.dtype)
            contexts.append(torch.cat([unguided.to(device).expand_as(guided), guided]))

        def denoise(x: Tensor, t: int) -> Tensor:
            unguided, guided = denoiser(torch.cat([x, x]), t, *contexts, text_weight).chunk(2)
            eps = unguided + guidance_scale * (guided - unguided)
            if guidance_fn is None:
                return eps

            def noise_in(other_x: Tensor, conditional: bool) -> Tensor:
                return denoiser(other_x, t, *(context.chunk(2)[conditional] for context in contexts), text_weight)

            place = len(taken) - 1 - taken.index(t)
            alpha_bar = alpha_bars[t].item()
            return guidance_fn(ddim.Step(rows, place, len(taken), alpha_bar, x, eps, guided, unguided, noise_in))

        latents = ddim.sample(denoise, start(rows), taken, alpha_bars)
        if not latents.isfinite().all():
            dtype = str(denoiser.unet.dtype).removeprefix("torch.")
            raise ValueError(
                f"latents of nsd_id {', '.join(map(str, nsd_id[rows]))} are not finite in {dtype}; expected finite "
                "ones. Compute in bfloat16 or float32, or look at the weights."
            )
        return autoencoder.decode(latents).cpu().numpy()

    def images_in_order() -> Iterator[tuple[int, np.ndarray]]:
        for first in range(0, len(nsd_id), batch_size):
            rows = slice(first, first + batch_size)
            yield from zip(nsd_id[rows].tolist(), reconstruct_batch(rows), strict=True)

    return images_in_order()


def autoencode(
    images: UInt8[np.ndarray, "stimuli height width 3"],
    models: Models,
    *,
    nsd_id: Int32[np.ndarray, " stimuli"],
    seed: int,
    batch_size: int = 1,
) -> Iterator[tuple[int, UInt8[np.ndarray, "image_height image_width 3"]]]:
    """(nsd_id, image): images through the autoencoder and back, the best that any reconstruction could do."""
    for first in range(0, len(nsd_id), batch_size):
        rows = slice(first, first + batch_size)
        with torch.inference_mode():
            returned = models[1].decode(_encode(images[rows], nsd_id[rows], models, seed)).cpu().numpy()
        yield from zip(nsd_id[rows].tolist(), returned, strict=True)


def _encode(
    images: np.ndarray, nsd_id: np.ndarray, models: Models, seed: int
) -> Float[Tensor, "batch channels size size"]:
    """Latents of images, drawn from the autoencoder's posterior by seed and nsd_id."""
    denoiser, autoencoder = models
    resized = torch.from_numpy(image_files.resize(images, image_size(denoiser, autoencoder), "bicubic"))
    eps = seeds.normal(seed, nsd_id, "diffusion.posterior", denoiser.latent_shape)
    return autoencoder.encode(resized.to(denoiser.unet.device), eps.to(denoiser.unet.device))
