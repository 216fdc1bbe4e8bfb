"""Stage-1 reconstructions and predicted embeddings -> reconstructions, by conditioned img2img."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int32, UInt8
from torch import Tensor

from brain_diffuser.artifacts import finite, hdf5, image_files, seeds
from brain_diffuser.generation import ddim, dpm_solver
from brain_diffuser.models import batches, progress
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, Denoiser, DualDenoiser, Projected

STAGE = "reconstruction"
SAMPLERS = {"ddim": ddim.sample, "dpmpp_2m": dpm_solver.sample}
AUTOENCODED = "image through the autoencoder"
Models = tuple[DualDenoiser | TextDenoiser, Autoencoder]
"""The denoiser, of Versatile Diffusion or Stable Diffusion, and the autoencoder of its latents."""


class Decoded(NamedTuple):
    """What some stimuli are reconstructed from; None where a variant starts from noise, or reads text alone."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    init_images: UInt8[np.ndarray, "stimuli height width 3"] | None
    text: Float[np.ndarray, "stimuli text_tokens text_dim"]
    vision: Float[np.ndarray, "stimuli vision_tokens vision_dim"] | None


def load(
    text_path: str | Path, vision_path: str | Path, stage1: str | Path, manifest: str | Path, rows: slice = hdf5.ALL
) -> Decoded:
    """Read the embeddings of some stimuli and their stage-1 reconstructions.

    Parameters
    ----------
    text_path, vision_path : path
        HDF5 of embeddings; an empty vision path is none.
    stage1, manifest : path
        Folder of stage-1 reconstructions and its manifest; an empty folder path is none.
    rows : slice
        Which of the files' stimuli.

    Raises
    ------
    ValueError
        The files do not have the same stimuli.
    """
    text = hdf5.load(text_path, rows)
    vision = init_images = None
    if vision_path:
        vision, nsd_id = hdf5.load(vision_path, rows)
        hdf5.check_aligned(text_path, text.nsd_id, vision_path, nsd_id)
    if stage1:
        nsd_id, init_images = image_files.read_folder(stage1, manifest, rows)
        hdf5.check_aligned(stage1, nsd_id, text_path, text.nsd_id)
    return Decoded(text.nsd_id, init_images, text.values, vision)


def image_size(denoiser: Denoiser, autoencoder: Autoencoder) -> int:
    """Side in pixels of the images that both networks were trained on, 512 for the published ones."""
    return denoiser.latent_shape[-1] * autoencoder.downscale


def reconstruct(
    init_images: UInt8[np.ndarray, "stimuli height width 3"] | None,
    text: Float[np.ndarray, "stimuli text_tokens text_dim"],
    vision: Float[np.ndarray, "stimuli vision_tokens vision_dim"] | None,
    unconditional: tuple[Float[Tensor, "1 _ _"], ...],
    models: Models,
    *,
    nsd_id: Int32[np.ndarray, " stimuli"],
    seed: int,
    steps: int,
    strength: float,
    guidance_scale: float,
    text_weight: float,
    noise_at: Literal["paper", "scheduler"],
    sampler: Literal["ddim", "dpmpp_2m"] = "ddim",
    batch_size: int = 1,
    guidance_fn: Callable[[ddim.Step], Tensor] | None = None,
) -> Iterator[tuple[int, UInt8[np.ndarray, "image_height image_width 3"]]]:
    """Reconstruct images from stage-1 reconstructions and embeddings, with classifier-free guidance.

    The stage-1 reconstruction, noised to a share `strength` of the schedule, is denoised under both embeddings. Every
    random draw depends on the seed and the nsd_id alone. Latents and the sampler are float32 whatever the networks
    compute in.

    Parameters
    ----------
    init_images : uint8 (stimuli, height, width, 3) or None
        Stage-1 reconstructions. None starts every image from noise and takes all steps.
    text : float (stimuli, tokens, dim)
        Text embeddings.
    vision : float (stimuli, tokens, dim) or None
        Vision embeddings. None conditions on the text alone; `text_weight` is then 1.
    unconditional : tuple of float tensors (1, tokens, dim)
        Embeddings of the unconditional pass: text, then vision if there is any.
    models : (denoiser, autoencoder)
        Networks of the backbone.
    nsd_id : int32 (stimuli)
        Which stimuli these are.
    seed : int
        Of the noise and of the posteriors of `init_images`.
    steps : int
        Steps from pure noise, 1 to 999; 50 in the paper.
    strength : float
        Share of the steps that is taken, above 0 to 1; 0.75 in the paper.
    guidance_scale : float
        eps = uncond + guidance_scale (cond - uncond); 7.5 in the paper.
    text_weight : float
        Share of the text in the two conditions, 0 to 1; 0.4 in the paper.
    noise_at : "paper" or "scheduler"
        Timestep of the first noise; see `ddim.noise_timestep`.
    sampler : "ddim" or "dpmpp_2m"
        A name in SAMPLERS; DDIM in the paper.
    batch_size : int
        Images at a time; see `batches`.
    guidance_fn : callable or None
        Step -> the noise that it takes, instead of that of classifier-free guidance.

    Returns
    -------
    iterator of (nsd_id, image)
        In the order of the rows.

    Raises
    ------
    ValueError
        Embeddings of another CLIP, a setting out of range, or numbers that are not finite.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334. Differs from the reference: seeded per image, and batched.
    """
    conditions = {"text": text} if vision is None else {"text": text, "vision": vision}
    with finite.naming(STAGE, nsd_id):
        _check_conditions(conditions, unconditional)
    visited = ddim.timesteps(steps)
    taken = visited if init_images is None else ddim.img2img_steps(visited, strength)
    denoiser, _ = models
    alpha_bars = ddim.alpha_bars()

    def start(rows: slice) -> Float[Tensor, "batch channels size size"]:
        noise = seeds.normal(seed, nsd_id[rows], "diffusion.noise", denoiser.latent_shape).to(denoiser.unet.device)
        if init_images is None:
            return noise
        latents = _encode(init_images[rows], nsd_id[rows], models, seed)
        return ddim.add_noise(latents, noise, alpha_bars[ddim.noise_timestep(taken, noise_at)])

    def images_in_order() -> Iterator[tuple[int, np.ndarray]]:
        for batch in batches.split(range(len(nsd_id)), batch_size, denoiser.unet.device, denoiser.unet.dtype):
            rows = batch.rows
            with torch.no_grad(), finite.naming(STAGE, batch.padded_array(nsd_id[rows])):
                contexts = _contexts(conditions, unconditional, batch, denoiser)
                guided = GuidedDenoiser(
                    denoiser, contexts, text_weight, guidance_scale, taken, alpha_bars, rows, guidance_fn
                )
                latents = SAMPLERS[sampler](guided, batch.padded(start(rows)), taken, alpha_bars)
                images = _to_images(latents[: batch.n_rows], models)
            yield from zip(nsd_id[rows].tolist(), images, strict=True)

    return images_in_order()


@dataclass(frozen=True)
class GuidedDenoiser:
    """The noise in the latents of one batch at a timestep, by classifier-free guidance and, if given, `guidance_fn`."""

    denoiser: DualDenoiser | TextDenoiser
    contexts: list[Float[Tensor, "two_batches _ _"]]
    """Of each kind of embeddings: unconditional ones, then the stimuli's."""
    text_weight: float
    guidance_scale: float
    steps: range
    alpha_bars: Float64[Tensor, " training_steps"]
    rows: slice
    guidance_fn: Callable[[ddim.Step], Tensor] | None

    @cached_property
    def both_passes(self) -> tuple[Projected, ...]:
        """The contexts, projected once for all steps."""
        return self.denoiser.project(*self.contexts)

    @cached_property
    def passes(self) -> tuple[tuple[Projected, ...], tuple[Projected, ...]]:
        """The same of the unconditional and of the conditional pass alone; guidance functions need them."""
        unconditional, conditional = zip(*(context.chunk(2) for context in self.contexts), strict=True)
        return self.denoiser.project(*unconditional), self.denoiser.project(*conditional)

    def __call__(self, x: Float[Tensor, "batch ..."], t: int) -> Float[Tensor, "batch ..."]:
        progress.step(self.rows, self.steps, t)
        uncond, cond = self.denoiser(torch.cat([x, x]), t, *self.both_passes, self.text_weight).chunk(2)
        eps = uncond + self.guidance_scale * (cond - uncond)
        finite.check(eps, f"the noise that step {t} takes", "Lower recon.guidance_scale.")
        if self.guidance_fn is None:
            return eps

        def noise_in(other_x: Tensor, is_conditional: bool) -> Tensor:
            return self.denoiser(other_x, t, *self.passes[is_conditional], self.text_weight)

        place = len(self.steps) - 1 - self.steps.index(t)
        alpha_bar = self.alpha_bars[t].item()
        step = ddim.Step(self.rows, place, len(self.steps), alpha_bar, x, eps, cond, uncond, noise_in)
        guided = self.guidance_fn(step)
        finite.check(guided, f"the guided noise that step {t} takes", "Lower guidance.kappa or guidance.sag_scale.")
        return guided


def _check_conditions(
    conditions: Mapping[str, Float[np.ndarray, "stimuli _ _"]], unconditional: tuple[Float[Tensor, "1 _ _"], ...]
) -> None:
    """Raises ValueError: embeddings that are not finite, or whose shape is not that of the unconditional ones."""
    for kind, predicted, uncond in zip(conditions, conditions.values(), unconditional, strict=True):
        if predicted.shape[1:] != uncond.shape[1:]:
            raise ValueError(
                f"predicted {kind} has {predicted.shape[1:]} (tokens, dim), its unconditional embedding "
                f"{tuple(uncond.shape[1:])}; was it extracted with another CLIP? Rerun features and ridge."
            )
        finite.check(predicted, f"the predicted {kind} embedding", "Rerun what predicts it.")
        finite.check(uncond, f"the unconditional {kind} embedding", "Check the weights of CLIP's tower.")


def _contexts(
    conditions: Mapping[str, Float[np.ndarray, "stimuli _ _"]],
    unconditional: tuple[Float[Tensor, "1 _ _"], ...],
    batch: batches.Batch,
    denoiser: Denoiser,
) -> list[Float[Tensor, "two_batches _ _"]]:
    """Of each kind of embeddings the unconditional ones, then those of a batch of stimuli.

    Raises NotFinite: embeddings that are too large for the precision of the UNet.
    """
    contexts, device, dtype = [], denoiser.unet.device, denoiser.unet.dtype
    for (kind, predicted), uncond in zip(conditions.items(), unconditional, strict=True):
        cond = batch.padded(torch.from_numpy(predicted[batch.rows])).to(device, uncond.dtype)
        contexts.append(torch.cat([uncond.to(device).expand_as(cond), cond]))
        finite.check_network(contexts[-1].to(dtype), f"the {kind} embedding", dtype)
    return contexts


def _to_images(
    latents: Float[Tensor, "batch channels size size"], models: Models
) -> UInt8[np.ndarray, "batch image_height image_width 3"]:
    """Raises NotFinite: the latents, or the images."""
    denoiser, autoencoder = models
    finite.check_network(latents, "the latents of the last step", denoiser.unet.dtype)
    return autoencoder.decode(latents).cpu().numpy()


def autoencode(
    images: UInt8[np.ndarray, "stimuli height width 3"],
    models: Models,
    *,
    nsd_id: Int32[np.ndarray, " stimuli"],
    seed: int,
    batch_size: int = 1,
) -> Iterator[tuple[int, UInt8[np.ndarray, "image_height image_width 3"]]]:
    """Images through the autoencoder and back: the best that any reconstruction could be.

    Parameters
    ----------
    images : uint8 (stimuli, height, width, 3)
        Stimuli of any size.
    models : (denoiser, autoencoder)
        Networks of the backbone.
    nsd_id : int32 (stimuli)
        Which stimuli these are.
    seed : int
        Of the draws from the posteriors.
    batch_size : int
        Images that are read at a time; the autoencoder takes them one by one.

    Returns
    -------
    iterator of (nsd_id, image)
        In the order of the rows.
    """
    for first in range(0, len(nsd_id), batch_size):
        rows = slice(first, first + batch_size)
        with torch.inference_mode(), finite.naming(AUTOENCODED, nsd_id[rows]):
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
