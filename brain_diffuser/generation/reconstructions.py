"""Reconstructions of some test stimuli by a diffusion model, from files into a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from brain_diffuser.artifacts import shards
from brain_diffuser.generation import guides, img2img, registry
from brain_diffuser.models import compiling
from brain_diffuser.models.progress import Progress, no_progress


def shard(
    span: str,
    inputs: Mapping[str, Any],
    out: str | Path,
    *,
    backbone: str,
    folder: str,
    clip_folder: str,
    guide: str,
    tower: str,
    settings: Mapping[str, Any],
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = no_progress,
) -> None:
    """Write a shard of reconstructions by a diffusion model.

    Parameters
    ----------
    span : str
        Which test stimuli, such as 00000-00064.
    inputs : {name: path}
        `text` and `vision` embeddings; `stage1` and its `manifest`; an empty one is none. Those of the guide.
    out : path
        The shard.
    backbone : str
        A name in `registry.BACKBONES`.
    folder, clip_folder : path
        The backbone's model, and CLIP's towers.
    guide : str
        A name in `guides.GUIDES`.
    tower : path
        The CLIP whose activations guide; not read without guidance.
    settings : mapping
        The section `recon` of config.yaml, and those of the guide; `compute.compile`, without which nothing is
        compiled.
    batch_size : int
        Images at a time; see `batches`.
    device, dtype
        Where and in which precision the networks run.
    progress : callable
        Reports the images.
    """

    def write(rows: slice) -> None:
        decoded = img2img.load(inputs["text"], inputs["vision"], inputs["stage1"], inputs["manifest"], rows)
        models, unconditional = registry.BACKBONES[backbone].load(folder, clip_folder, device, dtype)
        if settings.get("compute.compile"):
            denoiser, autoencoder = models
            compiling.compile_networks([denoiser.unet, autoencoder.vae.decoder], device)
        guidance_fn = guides.GUIDES[guide](
            models, inputs, rows, tower=tower, settings=settings, device=device, dtype=dtype
        )
        images = img2img.reconstruct(
            decoded.init_images,
            decoded.text,
            decoded.vision,
            unconditional,
            models,
            nsd_id=decoded.nsd_id,
            batch_size=batch_size,
            guidance_fn=guidance_fn,
            **settings["recon"],
        )
        shards.save_images(out, progress(images, len(decoded.nsd_id), "reconstructions"), decoded.nsd_id)

    shards.make(span, inputs["text"], out, write)
