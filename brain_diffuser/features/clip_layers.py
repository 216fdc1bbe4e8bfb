"""Multilayer features of a stimulus image: some CLIP layers' activations, which NeuralDiffuser's guidance compares."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int32, UInt8

from brain_diffuser.artifacts import image_files
from brain_diffuser.features.feature import Feature
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The vision tower of the CLIP that guides, and its preprocessing."""
    return model_files.clip(paths["clip_layers"], paths["versatile_diffusion"])["clip_vision"]


def load(path: str | Path, **options: Any) -> Any:
    """The layers of CLIP's vision tower in a folder; `options` are device and dtype."""
    from brain_diffuser.models.clip import ClipLayers

    return ClipLayers.load(path, **options)


def embed(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: Callable[[np.ndarray, Sequence[int]], Any],
    *,
    blocks: Sequence[int],
    image_size: int,
) -> Float[Any, "batch blocks tokens dim"]:
    """MLP outputs of some of CLIP's blocks, of images as reconstructions will be: brought to `image_size` first.

    Parameters
    ----------
    images : uint8 (batch, height, width, 3)
        Levels 0 to 255.
    nsd_id : int32 (batch)
        Not used; all features share one signature.
    model : callable
        What `load` returned.
    blocks : sequence of int
        Which blocks, counted from 1.
    image_size : int
        Side of reconstructions in pixels.

    Returns
    -------
    tensor (batch, blocks, tokens, dim)
    """
    return model(image_files.resize(images, image_size, "bilinear"), blocks)


FEATURE = Feature(
    reads="images",
    axes=("blocks", "tokens", "dim"),
    key="clip_layers",
    files=files,
    load=load,
    embed=embed,
    alpha=10_000.0,
    at_reconstruction_size=True,
)
