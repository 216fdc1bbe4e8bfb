"""CLIP's two towers with the conditioning of Versatile Diffusion: every token projected, scaled by the pooled one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from brain_diffuser.models import checkpoints, hooks

NOT_OF_TOWER = {
    "text": ("logit_scale", "vision_model.", "visual_projection."),
    "vision": ("logit_scale", "text_model.", "text_projection."),
}
"""What a file of both towers has beside one of them."""


class ClipText:
    """Captions -> embeddings of all their tokens; a caption's pooled token (its end) has length 1.

    Source: Xu et al. 2023, arXiv 2211.08332.
    """

    tower: type[PreTrainedModel] = CLIPTextModelWithProjection
    width = "projection_dim"
    """the key of the tower's description that says how many numbers a token has"""

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
        if not (folder / "tokenizer.json").is_file():
            for name in ("vocab.json", "merges.txt"):
                if not (folder / name).is_file():
                    raise FileNotFoundError(
                        f'{folder / name} is missing; expected CLIP\'s tokeniser, see README "Weights"'
                    )
        model = _load_tower(cls.tower, "text", text_encoder, device, dtype)
        tokeniser = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        if len(tokeniser) != model.config.vocab_size:
            raise ValueError(
                f"{folder} has {len(tokeniser)} tokens, {text_encoder} {model.config.vocab_size}; expected the same. "
                "Are both of one model?"
            )
        return cls(model, tokeniser)

    def __call__(self, captions: Sequence[str]) -> Float[Tensor, "captions tokens dim"]:
        """float32. Longer captions are cut before the end token, shorter ones padded; padding is not masked."""
        return self.embed(self.tokenise(captions))

    def tokenise(self, captions: Sequence[str]) -> Integer[Tensor, "captions tokens"]:
        """Token numbers."""
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
    """Captions -> the last hidden states of all their tokens, after the final norm: what Stable Diffusion 1 reads.

    Neither projected nor scaled, so no regression of `ClipText`'s embeddings can stand in for them.

    Source: Rombach et al. 2022, arXiv 2112.10752.
    """

    tower = CLIPTextModel
    width = "hidden_size"

    def embed(self, token_ids: Integer[Tensor, "captions tokens"]) -> Float[Tensor, "captions tokens dim"]:
        """Hidden states of token numbers."""
        return self.model(token_ids.to(self.model.device)).last_hidden_state.float()


class Preprocessing(NamedTuple):
    """What CLIP does to an image before its first layer."""

    shortest_side: int
    crop: tuple[int, int]
    resample: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def load(cls, folder: str | Path) -> "Preprocessing":
        """From `preprocessor_config.json`, whose sizes are numbers in old files and named in new ones.

        Raises FileNotFoundError: no such file. ValueError: it asks for something else than CLIP's preprocessing.
        """
        config = checkpoints.read_config(folder, "preprocessor_config.json")
        path = Path(folder) / "preprocessor_config.json"
        off = [key for key in ("do_resize", "do_center_crop", "do_normalize") if not config.get(key, True)]
        if off:
            raise ValueError(f"{path} has {off[0]} false; expected true, as CLIP was trained")
        try:
            size, crop = config["size"], config["crop_size"]
            return cls(
                size["shortest_edge"] if isinstance(size, dict) else size,
                (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop),
                Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
                tuple(config["image_mean"]),
                tuple(config["image_std"]),
            )
        except KeyError as error:
            raise ValueError(
                f"{path} lacks {error}; expected CLIP's size, crop_size, image_mean and image_std"
            ) from error

    def __call__(
        self, images: UInt8[np.ndarray, "images height width 3"]
    ) -> Float[Tensor, "images 3 crop_height crop_width"]:
        """PIL resize of the shortest side, centre crop, /255, mean and std.

        Written out because transformers' processors divide floats by 255 twice and resize differently with torchvision.
        """
        height, width = images.shape[1:3]
        shortest = min(height, width)
        new_height, new_width = (int(self.shortest_side * side / shortest) for side in (height, width))
        top, left = (new_height - self.crop[0]) // 2, (new_width - self.crop[1]) // 2
        window = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        resized = (Image.fromarray(image).resize((new_width, new_height), self.resample) for image in images)
        levels = np.stack([np.asarray(image)[window] for image in resized])
        scaled = (torch.from_numpy(levels).float() / 255 - torch.tensor(self.mean)) / torch.tensor(self.std)
        return scaled.movedim(-1, 1)


class ClipVision:
    """Images -> embeddings of all their tokens; the first, the class token, has length 1.

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
                f"{image_feature_extractor} crops images to {preprocess.crop} pixels, {image_encoder} reads "
                f"{model.config.image_size}; expected the same. Are both of one model?"
            )
        return cls(model, preprocess)

    def __call__(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[Tensor, "images tokens dim"]:
        """float32."""
        return self.embed(self.preprocess(images))

    def embed(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images tokens dim"]:
        """Embeddings of preprocessed images."""
        tower = self.model.vision_model
        hidden = tower(pixels.to(self.model.device, self.model.dtype)).last_hidden_state
        projected = self.model.visual_projection(tower.post_layernorm(hidden)).float()
        return projected / projected[:, :1].norm(dim=-1, keepdim=True)


class ClipLayers:
    """Images -> what the MLPs of some blocks add to their tokens; gradients pass.

    Blocks count from 1. Any image is squashed to the tower's size by torch's antialiased bilinear filter and
    normalised by the tower's mean and std: this rule alone has gradients, so targets and guided images share it.

    Source: Li, Wu & Chen 2024, arXiv 2402.13809, whose features are blocks 1 to 6 of ViT-B/32. Differs from the
    released program: the tower's mean and std, not ImageNet's; the resize is antialiased.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, mean: Sequence[float], std: Sequence[float]):
        self.model = model
        self.layers: Any = model.vision_model.encoder.layers
        self.mean, self.std = (torch.tensor(each, device=model.device).view(1, 3, 1, 1) for each in (mean, std))

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
        """Taps of images of levels."""
        pixels = torch.from_numpy(images).to(self.model.device).movedim(-1, 1) / 255
        return self.forward(pixels, blocks)

    def forward(
        self, pixels: Float[Tensor, "images 3 height width"], blocks: Sequence[int]
    ) -> Float[Tensor, "images blocks tokens dim"]:
        """Taps of images in [0, 1], in the tower's dtype.

        Raises ValueError: the tower lacks a block.
        """
        self.shape(blocks)
        size: Any = self.model.config.image_size
        resized = nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        with hooks.kept_outputs([self.layers[block - 1].mlp.fc2 for block in blocks]) as activations:
            self.model.vision_model(((resized - self.mean) / self.std).to(self.model.dtype))
        return torch.stack(activations, 1)


def unconditional(
    read_text: ClipText, read_vision: ClipVision, image_size: int
) -> tuple[Float[Tensor, "1 text_tokens text_dim"], Float[Tensor, "1 vision_tokens vision_dim"]]:
    """Embeddings of the empty caption and of a mid-grey image (level 127), what an unguided pass sees."""
    grey = np.full((1, image_size, image_size, 3), 127, np.uint8)
    return read_text([""]), read_vision(grey)


def _parts(clip: str | Path, *names: str) -> list[Path]:
    """The folders of some parts: subfolders, as Versatile Diffusion has them, or for all the one of the whole CLIP.

    Raises FileNotFoundError: it is neither.
    """
    folder = Path(clip)
    if (folder / "config.json").is_file():
        return [folder for _ in names]
    if not (folder / names[0]).is_dir():
        raise FileNotFoundError(
            f"{folder} has neither {names[0]} nor config.json; expected CLIP's towers apart or together, "
            'see README "Weights"'
        )
    return [folder / name for name in names]


def _load_tower(
    model_class: type[PreTrainedModel], kind: str, folder: Path, device: str | torch.device, dtype: torch.dtype
) -> Any:
    """The tower `text` or `vision` in a folder of its own or of both, strictly; of both, the other is not read."""
    described = checkpoints.read_config(folder)
    if is_whole := f"{kind}_config" in described:
        described = {**described[f"{kind}_config"], "projection_dim": described.get("projection_dim", 512)}
    try:
        config = {"text": CLIPTextConfig, "vision": CLIPVisionConfig}[kind](**described)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / 'config.json'} describes no {kind} tower of CLIP ({error}); is it of another model?"
        ) from error
    with torch.device("meta"):
        model: Any = model_class(config)

    def wanted(name: str) -> bool:
        # old files keep the position numbers, which are no weights
        return not name.endswith(".position_ids") and not (is_whole and name.startswith(NOT_OF_TOWER[kind]))

    path = checkpoints.find_tensors(folder, "model")
    found = checkpoints.read_tensors(path, wanted)
    if model_class is CLIPTextModel:  # published with a prefix that a tower alone no longer has
        found = {name.removeprefix("text_model."): tensor for name, tensor in found.items()}
    checkpoints.fill(model, found, path, device=device, dtype=dtype)
    for name, positions in list(model.named_buffers()):
        assert name.endswith("embeddings.position_ids"), name
        embeddings = model.get_submodule(name.rpartition(".")[0])
        embeddings.register_buffer("position_ids", torch.arange(positions.shape[-1])[None], persistent=False)
    return model.to(device).eval().requires_grad_(False)
