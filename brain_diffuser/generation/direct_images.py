"""Images that need no diffusion model, one shard at a time, from VDVAE latents or from stimuli."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.models.progress import Progress, no_progress

Images = tuple[Iterator[tuple[int, np.ndarray]], Int32[np.ndarray, " stimuli"]]
"""(nsd_id, image) in order, and all their ids."""


def decode_latents(
    source: str | Path,
    rows: slice,
    model: str,
    *,
    settings: Mapping[str, Any],
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Images:
    """Images that the VDVAE decodes from a file of latents. For the arguments see `shard`."""
    from brain_diffuser.generation import vdvae_stage
    from brain_diffuser.models.vdvae import weights

    latents = hdf5.load(source, rows)
    vdvae = weights.load(model, device=device, dtype=dtype)
    return vdvae_stage.decode(latents, vdvae, batch_size=batch_size, **settings["stage1"]), latents.nsd_id


def autoencode_stimuli(
    source: str | Path,
    rows: slice,
    model: str,
    *,
    settings: Mapping[str, Any],
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Images:
    """Stimuli through Versatile Diffusion's autoencoder and back. For the arguments see `shard`."""
    from brain_diffuser.generation import img2img
    from brain_diffuser.models.diffusion import weights

    models = weights.load(model, device, dtype)
    with hdf5.reading(source) as (stimuli, nsd_id):
        images, nsd_id = stimuli[rows], nsd_id[rows]
    returned = img2img.autoencode(images, models, nsd_id=nsd_id, seed=settings["recon.seed"], batch_size=batch_size)
    return returned, nsd_id


SOURCES = {"latents": decode_latents, "stimuli": autoencode_stimuli}
"""Images without a diffusion model, by what they are made from; the parameter `source` of a rule."""


def shard(
    span: str,
    source: str | Path,
    out: str | Path,
    kind: str,
    model: str,
    *,
    progress: Progress = no_progress,
    **options: Any,
) -> None:
    """Write a shard of images that need no diffusion model: stage-1 reconstructions, or autoencoded stimuli.

    Parameters
    ----------
    span : str
        Which rows of the source, such as 00000-00064.
    source : path
        HDF5 of VDVAE latents or of stimulus images.
    out : path
        The shard.
    kind : str
        "latents" or "stimuli", what the source holds.
    model : path
        The VDVAE, or Versatile Diffusion.
    progress : callable
        Reports the images.
    options
        settings (sections of config.yaml), batch_size, device and dtype.
    """

    def write(rows: slice) -> None:
        images, nsd_id = SOURCES[kind](source, rows, model, **options)
        shards.save_images(out, progress(images, len(nsd_id), "images"), nsd_id)

    shards.make(span, source, out, write)
