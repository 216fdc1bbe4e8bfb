"""Stimulus images as IP-Adapters read them, by CLIP's ViT-H/14: one embedding (base), or all tokens (plus)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int32, UInt8

from brain_diffuser.features.feature import Feature
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The weights of the tower, and what describes it and its preprocessing if that is there."""
    encoder = Path(paths["ip_adapter"]) / model_files.adapter_encoder(paths["ip_adapter"])
    described = [encoder / "config.json", encoder / model_files.preprocessing(encoder)]
    described.append(encoder.parent / "image_feature_extractor")
    return [
        *(str(encoder / name) for name in model_files.tensor_files(encoder, "model")),
        *(str(path) for path in described if path.exists()),
    ]


def load(path: str | Path, **options: Any) -> Any:
    """The image encoder in the folder of the adapters; `options` are device and dtype."""
    from brain_diffuser.models.adapter_vision import AdapterVision

    return AdapterVision.load(path, **options)


def embed_pooled(
    images: UInt8[np.ndarray, "batch height width 3"], nsd_id: Int32[np.ndarray, " batch"], model: Any
) -> Float[Any, "batch 1 dim"]:
    """The embedding of each image."""
    return model.pooled(images)


def embed_tokens(
    images: UInt8[np.ndarray, "batch height width 3"], nsd_id: Int32[np.ndarray, " batch"], model: Any
) -> Float[Any, "batch tokens dim"]:
    """The states of all tokens of each image."""
    return model.tokens(images)


POOLED = Feature(
    reads="images",
    axes=("tokens", "dim"),
    key="ip_adapter",
    files=files,
    load=load,
    embed=embed_pooled,
    alpha=60_000.0,
)
TOKENS = Feature(
    reads="images",
    axes=("tokens", "dim"),
    key="ip_adapter",
    files=files,
    load=load,
    embed=embed_tokens,
    alpha=60_000.0,
)
