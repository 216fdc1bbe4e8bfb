"""Hidden states of a stimulus' captions in Stable Diffusion's text tower: the text condition of Stable Diffusion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.features import clip_text
from brain_diffuser.features.feature import Feature


def files(paths: Mapping[str, str]) -> list[str]:
    """The text tower and its tokeniser in the folder of Stable Diffusion."""
    return [f"{paths['stable_diffusion']}/{component}" for component in ("text_encoder", "tokenizer")]


def load(path: str | Path, **options: Any) -> Any:
    """The text tower of Stable Diffusion in its folder; `options` are device and dtype."""
    from brain_diffuser.models.clip import HiddenText

    return HiddenText.load(path, **options)


FEATURE = Feature(
    reads="captions",
    axes=("tokens", "dim"),
    key="stable_diffusion",
    files=files,
    load=load,
    embed=clip_text.embed,
    alpha=100_000.0,
)
