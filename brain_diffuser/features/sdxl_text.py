"""A stimulus' captions as Stable Diffusion XL reads them: states of both text towers, the pooled text, and both."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int32

from brain_diffuser.features.feature import Feature


def files(paths: Mapping[str, str]) -> list[str]:
    """Both text towers, their tokenisers, and what says which the unconditional text is."""
    parts = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    return [f"{paths['sdxl']}/{part}" for part in parts]


def load(path: str | Path, **options: Any) -> Any:
    """The text towers of Stable Diffusion XL in its folder; `options` are device and dtype."""
    from brain_diffuser.models.sdxl_text import SdxlText

    return SdxlText.load(path, **options)


def mean_over_captions(captions: Sequence[Sequence[str]], read: Callable[[list[str]], Any]) -> Float[Any, "batch ..."]:
    """The mean of what is read of each stimulus' captions."""
    import torch

    by_stimulus = read(list(chain.from_iterable(captions))).split([len(of_stimulus) for of_stimulus in captions])
    return torch.stack([of_stimulus.mean(0) for of_stimulus in by_stimulus])


def embed_states(
    captions: Sequence[Sequence[str]], nsd_id: Int32[np.ndarray, " batch"], model: Any
) -> Float[Any, "batch tokens dim"]:
    """The mean states of each stimulus' captions."""
    return mean_over_captions(captions, lambda texts: model(texts)[0])


def embed_pooled(
    captions: Sequence[Sequence[str]], nsd_id: Int32[np.ndarray, " batch"], model: Any
) -> Float[Any, "batch dim"]:
    """The mean pooled text of each stimulus' captions."""
    return mean_over_captions(captions, lambda texts: model(texts)[1])


def embed_prompt(
    captions: Sequence[Sequence[str]], nsd_id: Int32[np.ndarray, " batch"], model: Any
) -> Float[Any, "batch rows dim"]:
    """Both: a row of states for each token, and one with the pooled text and zeros."""
    return mean_over_captions(captions, model.prompt)


TEXT = Feature(
    reads="captions",
    axes=("tokens", "dim"),
    key="sdxl",
    files=files,
    load=load,
    embed=embed_states,
    alpha=100_000.0,
)
POOLED = Feature(
    reads="captions",
    axes=("dim",),
    key="sdxl",
    files=files,
    load=load,
    embed=embed_pooled,
    alpha=100_000.0,
)
PROMPT = Feature(
    reads="captions",
    axes=("tokens", "dim"),
    key="sdxl",
    files=files,
    load=load,
    embed=embed_prompt,
    alpha=100_000.0,
)
