"""CLIP's two towers: token embeddings as Versatile Diffusion and Stable Diffusion read them, and layer activations."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor, nn

from brain_diffuser.artifacts import finite, system_faults
from brain_diffuser.models import checkpoints, hooks, model_files, torch_builds
from brain_diffuser.models.preprocessing import Preprocessing, normalised

with torch_builds.importing("transformers"):
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        PreTrainedConfig,
        PreTrainedModel,
    )

NOT_OF_TOWER = {
    "text": ("logit_scale", "vision_model.", "visual_projection."),
    "vision": ("logit_scale", "text_model.", "text_projection."),
}
"""Beginnings of the names of tensors that do not belong to a tower, in a file of both towers."""


TOKENISER_FILES = (
    *("tokenizer_config.json", "tokenizer.json", "vocab.json", "special_tokens_map.json", "added_tokens.json"),
)
"""JSON files of a tokeniser, of which a folder has some."""


class ClipText:
    """Captions -> embeddings of all their tokens, projected and divided by the length of the pooled token (the end).

    Source: Xu et al. 2023, arXiv 2211.08332. Differs from the reference: its tokeniser repairs texts with ftfy (curly
    quotes, HTML entities, ligatures, broken encodings); captions of plain ASCII without entities have the same tokens.
    """

    tower: type[PreTrainedModel] = CLIPTextModelWithProjection
    width = "projection_dim"
    """The key of the tower's description that holds the size of a token."""

    def __init__(self, model: Any, tokenizer: CLIPTokenizer):
        self.model = model
        self.tokenizer = tokenizer
        self.shape = (model.config.max_position_embeddings, getattr(model.config, self.width))

    @classmethod
    def load(
        cls, clip: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> "ClipText":
        """The tower and the tokeniser in `text_encoder/` and `tokenizer/`, or in the one folder that holds all of CLIP.

        Raises FileNotFoundError: a file is missing. ValueError: tensors or tokeniser of another model.
        """
        text_encoder, folder = _parts(clip, "text_encoder", "tokenizer")
        if not system_faults.is_file(folder / "tokenizer.json"):
            for name in ("vocab.json", "merges.txt"):
                if not system_faults.is_file(folder / name):
                    raise FileNotFoundError(
                        f'{folder / name} is missing; expected CLIP\'s tokeniser, see README "Weights"'
                    )
        model = _load_tower(cls.tower, "text", text_encoder, device, dtype)
        tokeniser = _load_tokeniser(folder)
        if len(tokeniser) != model.config.vocab_size:
            raise ValueError(
                f"{folder} has {len(tokeniser)} tokens (in {_tokeniser_files(folder)}), {text_encoder} "
                f"{model.config.vocab_size}; expected the same. Are both of one model?"
            )
        return cls(model, tokeniser)

    def __call__(self, captions: Sequence[str]) -> Float[Tensor, "captions tokens dim"]:
        """Embeddings of captions, float32. Longer captions are cut before the end token; padding is not masked."""
        return self.embed(self.tokenise(captions))

    def tokenise(self, captions: Sequence[str]) -> Integer[Tensor, "captions tokens"]:
        """Token numbers of captions, padded or cut to the tower's length."""
        tokens = self.tokenizer(
            list(captions), padding="max_length", max_length=self.shape[0], truncation=True, return_tensors="pt"
        )
        return tokens.input_ids

    def embed(self, token_ids: Integer[Tensor, "captions tokens"]) -> Float[Tensor, "captions tokens dim"]:
        """Embeddings of token numbers."""
        output = self.model(token_ids.to(self.model.device))
        projected = self.model.text_projection(output.last_hidden_state).float()
        return projected / output.text_embeds.float().norm(dim=-1)[:, None, None]


class HiddenText(ClipText):
    """Captions -> the last hidden states of all their tokens, after the final norm, as Stable Diffusion 1 reads them.

    They are neither projected nor scaled, so predictions of `ClipText`'s embeddings cannot replace them.

    Source: Rombach et al. 2022, arXiv 2112.10752.
    """

    tower = CLIPTextModel
    width = "hidden_size"

    def embed(self, token_ids: Integer[Tensor, "captions tokens"]) -> Float[Tensor, "captions tokens dim"]:
        """Hidden states of token numbers."""
        return self.model(token_ids.to(self.model.device)).last_hidden_state.float()


class ClipVision:
    """Images -> embeddings of all their tokens, projected and divided by the length of the first, the class token.

    Source: Xu et al. 2023, arXiv 2211.08332.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, preprocess: Preprocessing):
        self.model = model
        self.preprocess = preprocess
        self.shape = (model.vision_model.embeddings.num_positions, model.config.projection_dim)

    @classmethod
    def load(
        cls, clip: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> "ClipVision":
        """The tower and its preprocessing in `image_encoder/` and `image_feature_extractor/`, or in CLIP's one folder.

        Raises FileNotFoundError: a file is missing. ValueError: tensors or preprocessing of another model.
        """
        image_encoder, image_feature_extractor = _parts(clip, "image_encoder", "image_feature_extractor")
        preprocess = Preprocessing.load(image_feature_extractor)
        model = _load_tower(CLIPVisionModelWithProjection, "vision", image_encoder, device, dtype)
        if preprocess.crop != (model.config.image_size,) * 2:
            raise ValueError(
                f"{image_feature_extractor} crops images to {preprocess.crop} pixels (in "
                f"{model_files.preprocessing(image_feature_extractor)}), {image_encoder} reads "
                f"{model.config.image_size}; expected the same. Are both of one model?"
            )
        return cls(model, preprocess)

    def __call__(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[Tensor, "images tokens dim"]:
        """Embeddings of images of any size, float32."""
        return self.embed(self.preprocess(images))

    def embed(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images tokens dim"]:
        """Embeddings of preprocessed images."""
        tower = self.model.vision_model
        hidden = tower(pixels.to(self.model.device, self.model.dtype)).last_hidden_state
        projected = self.model.visual_projection(tower.post_layernorm(hidden)).float()
        return projected / projected[:, :1].norm(dim=-1, keepdim=True)


class ClipLayers:
    """Images -> CLIP layer activations: what the MLPs of some blocks add to the tokens; gradients pass.

    Blocks count from 1. Images of any size are squashed to the tower's size by torch's antialiased bilinear filter and
    normalised by the tower's mean and std. Targets and guided images share this rule: CLIP's own has no gradients.

    Source: Li, Wu & Chen 2024, arXiv 2402.13809, whose features are blocks 1 to 6 of ViT-B/32. Differs from the
    released program: the tower's mean and std, not ImageNet's; the resize is antialiased.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, mean: Sequence[float], std: Sequence[float]):
        self.model = model
        self.layers: Any = model.vision_model.encoder.layers
        self.mean, self.std = (torch.tensor(values, device=model.device).view(1, 3, 1, 1) for values in (mean, std))

    @classmethod
    def load(
        cls, clip: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> "ClipLayers":
        """The tower in `image_encoder/`, or in CLIP's one folder, with mean and std of its preprocessing.

        Raises FileNotFoundError: a file is missing. ValueError: tensors of another model.
        """
        image_encoder, image_feature_extractor = _parts(clip, "image_encoder", "image_feature_extractor")
        preprocess = Preprocessing.load(image_feature_extractor)
        model = _load_tower(CLIPVisionModelWithProjection, "vision", image_encoder, device, dtype)
        return cls(model, preprocess.mean, preprocess.std)

    def shape(self, blocks: Sequence[int]) -> tuple[int, int, int]:
        """(blocks, tokens, dim).

        Raises ValueError: the tower lacks a block.
        """
        beyond = [block for block in blocks if not 1 <= block <= len(self.layers)]
        if beyond:
            raise ValueError(
                f"features.clip_layers.blocks has {beyond[0]}, the tower datasets.*.clip_layers has blocks 1 to "
                f"{len(self.layers)}; name some of these"
            )
        return len(blocks), self.model.vision_model.embeddings.num_positions, self.model.config.hidden_size

    def __call__(
        self, images: UInt8[np.ndarray, "images height width 3"], blocks: Sequence[int]
    ) -> Float[Tensor, "images blocks tokens dim"]:
        """Activations of images of levels 0 to 255."""
        pixels = torch.from_numpy(images).to(self.model.device).movedim(-1, 1) / 255
        return self.forward(pixels, blocks)

    def forward(
        self, pixels: Float[Tensor, "images 3 height width"], blocks: Sequence[int]
    ) -> Float[Tensor, "images blocks tokens dim"]:
        """Activations of images in [0, 1], in the tower's dtype.

        Raises ValueError: the tower lacks a block, or activations are not finite.
        """
        self.shape(blocks)
        size: Any = self.model.config.image_size
        resized = nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        with hooks.kept_outputs([self.layers[block - 1].mlp.fc2 for block in blocks]) as activations:
            self.model.vision_model(normalised(resized, self.mean, self.std).to(self.model.dtype))
        stacked = torch.stack(activations, 1)
        finite.check_network(stacked, "CLIP's layers", self.model.dtype)
        return stacked


def unconditional(
    text_tower: ClipText, vision_tower: ClipVision, image_size: int
) -> tuple[Float[Tensor, "1 text_tokens text_dim"], Float[Tensor, "1 vision_tokens vision_dim"]]:
    """Embeddings of the unconditional pass: those of an empty caption and of a grey image (level 127).

    `image_size` is the side of the grey image in pixels.
    """
    grey = np.full((1, image_size, image_size, 3), 127, np.uint8)
    return text_tower([""]), vision_tower(grey)


def _parts(clip: str | Path, *names: str) -> list[Path]:
    """The folder of each part: a subfolder, as in Versatile Diffusion, or the one folder of a whole CLIP.

    Raises FileNotFoundError: it is neither.
    """
    folder = Path(clip)
    if (folder / "config.json").is_file() or (folder / "config.json").is_symlink():
        return [folder for _ in names]
    if not (folder / names[0]).is_dir():
        hint = model_files.cache_hint(folder) or "expected CLIP's towers apart or together"
        raise FileNotFoundError(f'{folder} has neither {names[0]} nor config.json; {hint}, see README "Weights"')
    return [folder / name for name in names]


def _load_tower(
    model_class: type[PreTrainedModel], kind: str, folder: Path, device: str | torch.device, dtype: torch.dtype
) -> Any:
    """The tower `text` or `vision`, loaded strictly; from a folder of both towers only its own tensors are read."""
    described, path = checkpoints.read_config(folder), folder / "config.json"
    config_class = {"text": CLIPTextConfig, "vision": CLIPVisionConfig}[kind]
    # what says how the library computes and saves is not taken from a download
    known = {field.name for field in dataclasses.fields(config_class)}
    known -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
    if is_whole := f"{kind}_config" in described:
        part = described[f"{kind}_config"]
        if not isinstance(part, dict):
            raise ValueError(f"{path} has {kind}_config of type {type(part).__name__}; expected an object")
        described = {**part, "projection_dim": described.get("projection_dim", 512)}
    described = {key: value for key, value in described.items() if key in known}
    with checkpoints.describing(f"{path} describes no {kind} tower of CLIP (", described, ")"), torch.device("meta"):
        model: Any = model_class(config_class(**described))

    def is_of_tower(name: str) -> bool:
        # old files keep the position numbers, which are no weights
        return not name.endswith(".position_ids") and not (is_whole and name.startswith(NOT_OF_TOWER[kind]))

    path = checkpoints.find_tensors(folder, "model")
    tensors = checkpoints.read_tensors(path, is_of_tower)
    if model_class is CLIPTextModel:  # published with a prefix that a tower alone no longer has
        tensors = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    checkpoints.fill(model, tensors, path, device=device, dtype=dtype)
    for name, positions in list(model.named_buffers()):
        assert name.endswith("embeddings.position_ids"), name
        embeddings = model.get_submodule(name.rpartition(".")[0])
        embeddings.register_buffer("position_ids", torch.arange(positions.shape[-1])[None], persistent=False)
    return model.to(device).eval().requires_grad_(False)


def _load_tokeniser(folder: Path) -> CLIPTokenizer:
    """The tokeniser of a folder.

    Raises ValueError: its files are no tokeniser of CLIP's, or ask for code.
    """
    for name in TOKENISER_FILES:
        if (folder / name).is_file():
            checkpoints.read_config(folder, name)
    try:
        tokeniser = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        tokeniser("a \u2603")  # what a damaged vocabulary lacks is looked for where it is needed
        return tokeniser
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes the library stumble in as many ways as there are bytes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        files = _tokeniser_files(folder)
        raise ValueError(
            f"{folder} has no tokeniser of CLIP's that can be read ({reason}); download {files} again"
        ) from error


def _tokeniser_files(folder: Path) -> str:
    """The names of the files that make the tokeniser of a folder."""
    return ", ".join(name for name in (*TOKENISER_FILES, "merges.txt") if (folder / name).is_file())
