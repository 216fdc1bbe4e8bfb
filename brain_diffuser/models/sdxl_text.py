"""Captions as Stable Diffusion XL reads them: hidden states of two text towers, and the pooled text of the second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import checkpoints, clip, torch_builds

with torch_builds.importing("transformers"):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

TOWERS = (("text_encoder", "tokenizer", CLIPTextModel), ("text_encoder_2", "tokenizer_2", CLIPTextModelWithProjection))
"""The folders of both towers and of their tokenisers: ViT-L/14 and ViT-bigG/14."""
PUBLISHED_LENGTH = 77  # tokens of a caption, where a description leaves it out


class SdxlText:
    """Captions -> the states of all tokens below the last layer of both towers, side by side, and the pooled text.

    Source: Podell et al. 2023, arXiv 2307.01952.
    """

    def __init__(self, models: Sequence[Any], tokenizers: Sequence[Any]):
        self.models = models
        self.tokenizers = tokenizers

    @classmethod
    def load(
        cls, base: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> "SdxlText":
        """Both towers and tokenisers in the folder of Stable Diffusion XL.

        Raises FileNotFoundError: a file is missing. ValueError: tensors or a tokeniser of another model.
        """
        models, tokenizers = [], []
        for tower, tokenizer, model_class in TOWERS:
            folder = Path(base) / tokenizer
            if not (system_faults.is_file(folder / "tokenizer.json") or system_faults.is_file(folder / "vocab.json")):
                raise FileNotFoundError(f"{folder} has no vocab.json; expected a tokeniser of Stable Diffusion XL")
            models.append(clip._load_tower(model_class, "text", Path(base) / tower, device, dtype))
            tokenizers.append(clip._load_tokeniser(folder))
            if len(tokenizers[-1]) != models[-1].config.vocab_size:
                raise ValueError(
                    f"{folder} has {len(tokenizers[-1])} tokens, {Path(base) / tower} {models[-1].config.vocab_size}; "
                    "expected the same. Are both of one model?"
                )
        return cls(models, tokenizers)

    def __call__(
        self, captions: Sequence[str]
    ) -> tuple[Float[Tensor, "captions tokens dim"], Float[Tensor, "captions pooled"]]:
        """States of both towers and the pooled text, float32. Longer captions are cut; padding is not masked."""
        states, pooled = [], torch.empty(0)
        for model, tokenizer in zip(self.models, self.tokenizers, strict=True):
            length = model.config.max_position_embeddings
            tokens = tokenizer(
                list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            )
            output = model(tokens.input_ids.to(model.device), output_hidden_states=True)
            states.append(output.hidden_states[-2].float())
            pooled = output.text_embeds.float() if hasattr(output, "text_embeds") else pooled
        return torch.cat(states, -1), pooled

    def prompt(self, captions: Sequence[str]) -> Float[Tensor, "captions rows dim"]:
        """Both in one array, as backbones read them: a row for each token, and one with the pooled text and zeros."""
        return joined(*self(captions))


def unconditional(base: str | Path, device: str | torch.device = "cpu") -> Float[Tensor, "1 rows dim"]:
    """The prompt of the unconditional pass: zeros, or that of an empty caption if `model_index.json` says so.

    Raises FileNotFoundError, ValueError: what `SdxlText.load` and `checkpoints.read_config` raise.
    """
    described = [checkpoints.read_config(Path(base) / tower) for tower, _, _ in TOWERS]
    path = Path(base) / "model_index.json"
    index = checkpoints.read_config(base, path.name) if system_faults.is_file(path) else {}
    if not index.get("force_zeros_for_empty_prompt", True):
        return SdxlText.load(base, device).prompt([""])
    length = described[0].get("max_position_embeddings", PUBLISHED_LENGTH)
    return torch.zeros(1, length + 1, sum(tower.get("hidden_size", 512) for tower in described), device=device)


def joined(
    states: Float[Tensor, "captions tokens dim"], pooled: Float[Tensor, "captions pooled"]
) -> Float[Tensor, "captions rows dim"]:
    """Hidden states, and the pooled text as one row more, whose end is zeros."""
    row = torch.nn.functional.pad(pooled, (0, states.shape[-1] - pooled.shape[-1]))
    return torch.cat([states, row[:, None]], 1)
