"""Images of the features of patterns (optimal, perturbed), by both stages, several times each with other noise."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.generation import img2img, registry, vdvae_stage
from brain_diffuser.models.vdvae import weights
from brain_diffuser.regions import optimal_patterns

Folder = tuple[str | Path, str | Path]
"""A folder of images and its manifest."""


def write(
    stage1: Folder,
    images: Folder,
    features: Mapping[str, str | Path],
    models: Mapping[str, str | Path],
    *,
    n_images: int,
    is_numbered: bool,
    settings: Mapping[str, Any],
    batch_size: int,
    device: Any,
    dtype: Any,
    progress: Callable[..., Any],
) -> None:
    """Write the stage-1 image of each pattern, and its reconstructions.

    Parameters
    ----------
    stage1, images : (folder, manifest)
        Where to write.
    features : {"vdvae", "text", "vision": path}
        Features of the same patterns.
    models : {"vdvae", "clip", "diffusion": path}
    n_images : int
        Reconstructions of each pattern.
    is_numbered : bool
        Whether their names end with their number.
    settings : {"stage1", "recon": settings}
    batch_size : int
    device, dtype
        Of torch; where the networks compute, and in which precision.
    progress : (items, number of items, what they are) -> items
    """
    names, latents = optimal_patterns.load(features["vdvae"])
    rows, number = np.repeat(np.arange(len(names)), n_images), np.tile(np.arange(n_images), len(names))
    nsd_id = (latents.nsd_id[rows] + number).astype(np.int32)
    text, vision = (optimal_patterns.load(features[key])[1].values for key in ("text", "vision"))
    vdvae = weights.load(models["vdvae"], device=device, dtype=dtype)
    chosen = hdf5.StimulusArray(latents.values[rows], nsd_id)
    decoded = vdvae_stage.decode(chosen, vdvae, batch_size=batch_size, **settings["stage1"])
    init_images = np.stack([image for _, image in decoded])
    del vdvae
    backbone = registry.BACKBONES["versatile_diffusion"]
    networks, unconditional = backbone.load(models["diffusion"], models["clip"], device, dtype)
    reconstructions = img2img.reconstruct(
        init_images,
        text[rows],
        vision[rows],
        unconditional,
        networks,
        nsd_id=nsd_id,
        batch_size=batch_size,
        **settings["recon"],
    )
    files = [f"{names[row]}{f'_{n}' if is_numbered else ''}.png" for row, n in zip(rows, number, strict=True)]
    image_files.write_folder(*images, progress(reconstructions, len(rows), "images"), files)
    first = slice(None, None, n_images)
    first_images = zip(nsd_id[first].tolist(), init_images[first], strict=True)
    image_files.write_folder(*stage1, first_images, [f"{name}.png" for name in names])
