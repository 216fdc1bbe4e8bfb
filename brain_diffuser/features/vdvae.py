"""VDVAE latents of a stimulus image, from which the stage-1 reconstruction is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from brain_diffuser.artifacts import image_files
from brain_diffuser.features.feature import Feature
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The checkpoint, and its description if there is one."""
    return [paths["vdvae"], *model_files.description(paths["vdvae"])]


def load(path: str | Path, **options: Any) -> Any:
    """The VDVAE of a checkpoint; `options` are device and dtype."""
    from brain_diffuser.models.vdvae import weights

    return weights.load(path, **options)


def embed(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: Any,
    *,
    posterior: Literal["mean", "sample"],
    seed: int,
) -> Float32[Any, "batch latents"]:
    """The model's leading latents, from images squashed to its size with an antialiased bilinear filter.

    Parameters
    ----------
    images : uint8 (batch, height, width, 3)
        Levels 0 to 255.
    nsd_id : int32 (batch)
        Which stimuli these are; the noise of a sample belongs to the stimulus.
    model : VDVAE
        What `load` returned.
    posterior : "mean" or "sample"
        Whether latents are the means of their posteriors or drawn from them.
    seed : int
        Of the draws of "sample".

    Returns
    -------
    float32 tensor (batch, latents)

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334. Differs from the reference, which draws posterior samples
    without a seed: a sample belongs to its image, and the posterior's mean has no noise to regress.
    """
    import torch

    from brain_diffuser.artifacts import seeds

    n_latents = model.config.n_latents
    resized = torch.from_numpy(image_files.resize(images, model.config.image_size, "bilinear")).to(model.device)
    draws = (
        seeds.normal(seed, nsd_id, f"vdvae.posterior.{index}", shape).to(model.device)
        for index, shape in enumerate(model.latent_shapes[:n_latents])
    )
    return model.encode_latents(resized, n_latents, draws if posterior == "sample" else None)


FEATURE = Feature(
    reads="images",
    axes=("latents",),
    key="vdvae",
    files=files,
    load=load,
    embed=embed,
    alpha=50_000.0,
    on_demand=False,
)
