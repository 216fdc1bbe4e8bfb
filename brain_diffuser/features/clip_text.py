"""Embeddings of a stimulus' captions by CLIP's text tower, one per token: the text condition of Versatile Diffusion."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int32

from brain_diffuser.features.feature import Feature
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The text tower and its tokeniser."""
    return model_files.clip(paths["clip"], paths["versatile_diffusion"])["clip_text"]


def load(path: str | Path, **options: Any) -> Any:
    """CLIP's text tower in a folder; `options` are device and dtype."""
    from brain_diffuser.models.clip import ClipText

    return ClipText.load(path, **options)


def embed(
    captions: Sequence[Sequence[str]], nsd_id: Int32[np.ndarray, " batch"], model: Callable[[list[str]], Any]
) -> Float[Any, "batch tokens dim"]:
    """The mean embedding of each stimulus' captions, as a tensor."""
    import torch

    embeddings = model(list(chain.from_iterable(captions)))
    by_stimulus = embeddings.split([len(of_stimulus) for of_stimulus in captions])
    return torch.stack([of_stimulus.mean(0) for of_stimulus in by_stimulus])


FEATURE = Feature(
    reads="captions",
    axes=("tokens", "dim"),
    key="clip",
    files=files,
    load=load,
    embed=embed,
    alpha=100_000.0,
    on_demand=False,
)
