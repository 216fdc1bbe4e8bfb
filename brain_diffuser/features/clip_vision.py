"""Embeddings of a stimulus image by CLIP's vision tower, one per token: the vision condition of Versatile Diffusion."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int32, UInt8

from brain_diffuser.artifacts import image_files
from brain_diffuser.features.feature import Feature
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The vision tower and its preprocessing."""
    return model_files.clip(paths["clip"], paths["versatile_diffusion"])["clip_vision"]


def load(path: str | Path, **options: Any) -> Any:
    """CLIP's vision tower in a folder; `options` are device and dtype."""
    from brain_diffuser.models.clip import ClipVision

    return ClipVision.load(path, **options)


def embed(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: Callable[[np.ndarray], Any],
    *,
    image_size: int,
    levels: Literal["kept", "paper"] = "kept",
) -> Float[Any, "batch tokens dim"]:
    """Embeddings of images as reconstructions will be: brought to `image_size` (px), then resized by CLIP's own rule.

    Parameters
    ----------
    images : uint8 (batch, height, width, 3)
        Levels 0 to 255.
    nsd_id : int32 (batch)
        Not used; all features share one signature.
    model : callable
        What `load` returned.
    image_size : int
        Side of reconstructions in pixels, 512 for the published Versatile Diffusion.
    levels : "kept" or "paper"
        Whether CLIP gets the levels that images have then, or those of the published program, which loses some.

    Returns
    -------
    tensor (batch, tokens, dim)
    """
    from brain_diffuser.models import preprocessing

    resized = image_files.resize(images, image_size, "bilinear")
    return model(preprocessing.truncated(resized) if levels == "paper" else resized)


FEATURE = Feature(
    reads="images",
    axes=("tokens", "dim"),
    key="clip",
    files=files,
    load=load,
    embed=embed,
    alpha=60_000.0,
    on_demand=False,
    at_reconstruction_size=True,
)
